// The rules about a program's methods: the one of the text runner, or the tensors that the static-kv loop fills.
// Port of the same part of export/manifest_rules.py.
package ai.pocketlm.core

internal fun checkMethods(manifest: Manifest) {
    val isText = manifest.runner.kind == "text-llm"
    if ("forward" !in manifest.methods) fail("methods", "has no 'forward'")
    for ((name, method) in manifest.methods) {
        for ((side, tensors) in listOf("inputs" to method.inputs, "outputs" to method.outputs)) {
            val path = "methods.$name.$side"
            checkUnique(path, "name", tensors.map { quoted(it.name) })
            tensors.forEachIndexed { i, tensor -> checkDynamic("$path[$i].dynamic", tensor, isAllowed = isText) }
        }
    }
    if (isText) checkTextForward(manifest) else checkStaticMethods(manifest)
}

private fun checkDynamic(path: String, tensor: TensorSpec, isAllowed: Boolean) {
    if (tensor.dynamic.isNotEmpty() && !isAllowed) {
        fail(path, "is not empty, but a static-kv runner takes fixed shapes only")
    }
    if (tensor.dynamic != tensor.dynamic.distinct().sorted() || tensor.dynamic.any { it >= tensor.shape.size }) {
        fail(path, "is ${tensor.dynamic}; it must be increasing indices into the ${tensor.shape.size} dimensions")
    }
}

/** The runtime's text runner calls one method, by position of the arguments. */
private fun checkTextForward(manifest: Manifest) {
    val extra = (manifest.methods.keys - "forward").minOrNull()
    if (extra != null) fail("methods.$extra", "is unknown to a text-llm runner; it calls forward only")
    val forward = manifest.methods.getValue("forward")
    val chunk = manifest.chunk
    val vocabSize = manifest.model.config.vocabSize
    val inputs = listOf(
        TensorSpec("tokens", "int64", listOf(1, chunk), if (chunk > 1) listOf(1) else emptyList()),
        TensorSpec("position", "int64", listOf(1), emptyList()),
    )
    val logits = TensorSpec("logits", "float32", listOf(1, vocabSize), emptyList())
    checkTensors("methods.forward.inputs", forward.inputs, inputs, manifest)
    checkTensors("methods.forward.outputs", forward.outputs, listOf(logits), manifest)
}

private fun checkTensors(side: String, tensors: List<TensorSpec>, wanted: List<TensorSpec>, manifest: Manifest) {
    if (tensors.size != wanted.size) {
        fail(side, "has ${tensors.size} tensors; a text-llm runner needs ${wanted.joinToString(", ") { it.name }}")
    }
    tensors.zip(wanted).forEachIndexed { i, (tensor, right) ->
        val path = "$side[$i]"
        if (tensor.name != right.name) {
            fail("$path.name", "is ${quoted(tensor.name)}; a text-llm runner needs ${quoted(right.name)} here")
        }
        if (tensor.shape != right.shape) {
            fail(
                "$path.shape",
                "is ${tensor.shape}; chunk ${manifest.chunk} and vocabulary ${manifest.model.config.vocabSize} make " +
                    "it ${right.shape}",
            )
        }
        val dtypes = if (right.dtype == "float32") listOf("float32", "float16") else listOf(right.dtype)
        if (tensor.dtype !in dtypes) {
            fail("$path.dtype", "is ${tensor.dtype}; a text-llm runner needs ${dtypes.joinToString(" or ")}")
        }
        if (tensor.dynamic != right.dynamic) {
            fail("$path.dynamic", "is ${tensor.dynamic}; it must be ${right.dynamic}")
        }
    }
}

/** The loop fills every tensor by its name, in calling order, so each must be the one that the layout makes. */
private fun checkStaticMethods(manifest: Manifest) {
    val methods = manifest.methods
    val extra = (methods.keys - setOf("forward", "prefill")).minOrNull()
    if (extra != null) fail("methods.$extra", "is unknown to a static-kv runner; allowed: forward, prefill")
    val expected = staticMethods(manifest.model.config, manifest.cache.layers, manifest.chunk, "prefill" in methods)
    for ((name, method) in methods) {
        val right = expected[name]
            ?: fail("methods.$name", "is there, but with a chunk of ${manifest.chunk} forward takes every prompt")
        checkStaticTensors("methods.$name.inputs", method.inputs, right.inputs)
        checkStaticTensors("methods.$name.outputs", method.outputs, right.outputs)
    }
}

private fun checkStaticTensors(side: String, found: List<TensorSpec>, wanted: List<TensorSpec>) {
    found.zip(wanted).forEachIndexed { i, (tensor, right) ->
        val fields = listOf(
            Triple("name", quoted(tensor.name), quoted(right.name)),
            Triple("dtype", quoted(tensor.dtype), quoted(right.dtype)),
            Triple("shape", tensor.shape.toString(), right.shape.toString()),
        )
        for ((field, value, makes) in fields) {
            if (value != makes) fail("$side[$i].$field", "is $value; model, caches and chunk make it $makes")
        }
    }
    if (found.size != wanted.size) {
        fail(side, "has ${found.size} tensors; model, caches and chunk make it ${wanted.size}")
    }
}
