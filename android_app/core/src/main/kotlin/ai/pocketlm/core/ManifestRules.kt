// The rules between the sections of a manifest: sums that must agree, layouts that a runner can drive, ids in range.
// Port of export/manifest_rules.py. Every rule's sentence begins with the place in the document.
package ai.pocketlm.core

private const val MIN_GOLDEN_STEPS = 16
private val VALUE_BYTES = mapOf("float32" to 4L, "float16" to 2L, "int8" to 1L)

/** Throws `PocketError` at the first rule that is broken. */
internal fun checkManifest(manifest: Manifest) {
    checkModel(manifest.model)
    checkContext(manifest)
    checkCache(manifest)
    checkMethods(manifest)
    checkFiles(manifest)
    checkTokenizer(manifest)
    checkEndOfTurn(manifest)
    checkRecipe(manifest)
    checkGolden(manifest)
    checkOrigin(manifest.origin)
}

private fun checkModel(model: ModelSpec) {
    val expected = numParameters(model.config)
    if (model.parameters != expected) {
        fail("model.parameters", "is ${model.parameters}, but model.config makes $expected")
    }
}

private fun checkContext(manifest: Manifest) {
    val context = manifest.context
    val window = manifest.window
    val chunk = manifest.chunk
    val config = manifest.model.config
    val most = if (context.isEndless) context.tokens - 1 else context.tokens
    if (chunk > most) {
        val reason = when {
            context.isEndless -> "a text runner treats it as endless only if the chunk is smaller"
            else -> "no prompt can be longer"
        }
        fail("chunk", "is $chunk, but context.tokens is ${context.tokens} and ${context.kind}: $reason")
    }
    if (window != null && window > context.tokens) {
        fail("window", "is $window, more than context.tokens ${context.tokens}")
    }
    val hasLocal = config.globalLayers.size < config.numLayers
    val expected = if (hasLocal) minOf(config.slidingWindow, context.tokens) else null
    if (window != expected) {
        fail("window", "is ${spelled(window)}; the model's layers and context make it ${spelled(expected)}")
    }
}

private fun checkCache(manifest: Manifest) {
    val config = manifest.model.config
    val context = manifest.context
    val cache = manifest.cache
    if (cache.layers.size.toLong() != config.numLayers) {
        fail("cache.layers", "has ${cache.layers.size} entries for ${config.numLayers} layers")
    }
    cache.layers.forEachIndexed { i, layer ->
        val path = "cache.layers[$i]"
        if (layer.layer != i.toLong()) {
            fail("$path.layer", "is ${layer.layer}; the layers must stand in order, so $i")
        }
        val kind = if (config.isGlobal(i.toLong())) "global" else "local"
        if (layer.kind != kind) fail("$path.kind", "is ${layer.kind}, but model.config makes layer $i $kind")
        val sees = if (kind == "global") context.tokens else manifest.window ?: context.tokens
        if (layer.window != sees) fail("$path.window", "is ${layer.window}; a $kind layer sees $sees positions here")
        if (context.isEndless && !layer.ring) {
            fail("$path.ring", "is false, but an endless context overwrites old positions in every layer")
        }
        checkSlots(path, layer, manifest)
        val values = times(times(2, layer.slots), times(config.numKvHeads, config.headDim))
        val least = times(values, VALUE_BYTES.getValue(layer.dtype))
        if (layer.bytes < least) {
            fail("$path.bytes", "is ${layer.bytes}; keys and values of ${layer.slots} slots alone take $least")
        }
    }
    val total = cache.layers.sumOf { it.bytes }
    if (cache.bytes != total) fail("cache.bytes", "is ${cache.bytes}, but the layers' bytes add up to $total")
}

private fun checkSlots(path: String, layer: CacheLayer, manifest: Manifest) {
    val chunk = manifest.chunk
    val needed = layer.window + chunk - 1
    if (manifest.runner.kind == "static-kv") { // the loop attends over cache and new tokens, then writes
        if (layer.dtype != "float16") fail("$path.dtype", "is ${layer.dtype}; a static-kv loop keeps float16")
        if (layer.slots != layer.window) {
            fail("$path.slots", "is ${layer.slots}; a cache of a static-kv loop has ${layer.window}, its window")
        }
        if (chunk > layer.slots) {
            fail("chunk", "is $chunk, but layer ${layer.layer} has ${layer.slots} slots: a chunk must fit a cache")
        }
    } else if (!layer.ring) {
        if (layer.slots < manifest.context.tokens) {
            fail(
                "$path.slots",
                "is ${layer.slots}; without a ring it takes ${manifest.context.tokens}, one per position",
            )
        }
    } else if (layer.slots < needed) {
        fail(
            "$path.slots",
            "is ${layer.slots}; the ring needs at least $needed (window ${layer.window} + chunk $chunk - 1)",
        )
    }
}

private fun checkFiles(manifest: Manifest) {
    val files = manifest.files
    val folded = files.map { it.path.lowercase() } // phones' file systems may ignore case
    checkUnique("files", "path", folded.map(::quoted))
    if (MANIFEST_NAME in folded) {
        fail("files[${folded.indexOf(MANIFEST_NAME)}].path", "is $MANIFEST_NAME, which never lists itself")
    }
    folded.forEachIndexed { i, path ->
        if (folded.any { it.startsWith("$path/") }) {
            fail("files[$i].path", "is ${quoted(files[i].path)}, a file, but other files lie below it")
        }
    }
    val (programs, tokenizers) = listOf("program", "tokenizer").map { role ->
        val found = files.filter { it.role == role }
        if (found.size != 1) fail("files", "has ${found.size} entries of role $role; it needs exactly one")
        found
    }
    val listed = tokenizers[0].path
    if (listed != manifest.tokenizer.file) {
        fail("tokenizer.file", "is ${quoted(manifest.tokenizer.file)}, but files lists ${quoted(listed)}")
    }
    checkMemory(manifest.memory, programs[0], manifest.cache)
}

private fun checkMemory(memory: MemorySpec, program: PackageFile, cache: CacheSpec) {
    if (memory.programBytes != program.bytes) {
        fail("memory.program_bytes", "is ${memory.programBytes}, but ${program.path} has ${program.bytes}")
    }
    if (memory.cacheBytes != cache.bytes) {
        fail("memory.cache_bytes", "is ${memory.cacheBytes}, but cache.bytes is ${cache.bytes}")
    }
    if (memory.estimatedPeakBytes < memory.cacheBytes) {
        fail(
            "memory.estimated_peak_bytes",
            "is ${memory.estimatedPeakBytes}, less than the caches alone (${memory.cacheBytes})",
        )
    }
}

private fun checkTokenizer(manifest: Manifest) {
    val tokenizer = manifest.tokenizer
    val vocabSize = manifest.model.config.vocabSize
    if (tokenizer.vocabSize > vocabSize) {
        fail("tokenizer.vocab_size", "is ${tokenizer.vocabSize}, more than the model's $vocabSize")
    }
    val ids = tokenizer.specialTokens.map { it.id }
    checkIds("tokenizer.bos_id", listOfNotNull(tokenizer.bosId), vocabSize)
    checkIds("tokenizer.stop_ids", tokenizer.stopIds, vocabSize)
    checkIds("tokenizer.special_tokens", ids, vocabSize)
    checkUnique("tokenizer.stop_ids", "id", tokenizer.stopIds.map { it.toString() })
    checkUnique("tokenizer.special_tokens", "id", ids.map { it.toString() })
    checkUnique("tokenizer.special_tokens", "text", tokenizer.specialTokens.map { quoted(it.text) })
    if (tokenizer.numBos > 0 && tokenizer.bosId == null) {
        fail("tokenizer.num_bos", "is 1, but tokenizer.bos_id is null")
    }
    if (tokenizer.numBos > 0 && tokenizer.bosText.isNotEmpty()) {
        fail("tokenizer.bos_text", "is not empty, but tokenizer.num_bos is 1: the prompt would begin twice")
    }
}

private fun checkEndOfTurn(manifest: Manifest) {
    val texts = (manifest.template as? ChatTemplate)?.endOfTurn ?: return
    val ids = manifest.tokenizer.specialTokens.associate { it.text to it.id }
    texts.forEachIndexed { i, text ->
        val path = "template.end_of_turn[$i]"
        val id = ids[text] ?: fail(path, "is ${shown(text)}, which is not among tokenizer.special_tokens")
        if (id !in manifest.tokenizer.stopIds) {
            fail(path, "is ${shown(text)}, whose id $id is not among tokenizer.stop_ids: no runner would stop there")
        }
    }
}

private fun checkRecipe(manifest: Manifest) {
    val config = manifest.model.config
    val recipe = manifest.recipe
    val tables = if (config.tied) mapOf("embedding" to 1L) else mapOf("embedding" to 1L, "head" to 1L)
    val expected = LAYER_MATRICES.associateWith { config.numLayers } + tables
    val exceptions = recipe.exceptions.keys.groupingBy(::layerKind).eachCount()
    for ((section, names) in listOf("layers" to recipe.layers.keys, "exceptions" to exceptions.keys)) {
        val unknown = (names - expected.keys).minOrNull() ?: continue
        fail("recipe.$section", "names ${quoted(unknown)}, which this model does not have")
    }
    for ((kind, count) in expected) {
        val regular = recipe.layers[kind]?.count ?: 0
        val others = exceptions[kind] ?: 0
        if (regular + others != count) {
            fail(
                "recipe.layers['$kind']",
                "accounts for $regular layers and recipe.exceptions for $others; the model has $count",
            )
        }
    }
}

/** `layers.3.attention.q_proj` is of kind `attention.q_proj`; `embedding` is its own. */
private fun layerKind(name: String): String {
    val parts = name.split(".")
    val isLayer = parts.size > 2 && parts[0] == "layers" && parts[1].isNotEmpty() && parts[1].all { it in '0'..'9' }
    return if (isLayer) parts.drop(2).joinToString(".") else name
}

private fun checkGolden(manifest: Manifest) {
    val golden = manifest.golden
    val tokenizer = manifest.tokenizer
    val stops = tokenizer.stopIds
    checkIds("golden.prompt_ids", golden.promptIds, manifest.model.config.vocabSize)
    checkIds("golden.ids", golden.ids, manifest.model.config.vocabSize)
    if (tokenizer.numBos > 0 && golden.promptIds[0] != tokenizer.bosId) {
        fail(
            "golden.prompt_ids",
            "begins with ${golden.promptIds[0]}; tokenizer.num_bos asks for ${tokenizer.bosId} first",
        )
    }
    if (!golden.prompt.startsWith(tokenizer.bosText)) {
        fail("golden.prompt", "does not begin with tokenizer.bos_text ${quoted(tokenizer.bosText)}")
    }
    if (golden.ids.dropLast(1).any { it in stops }) {
        fail("golden.ids", "goes on after a stop id, where every runner stops")
    }
    if (golden.ids.size < MIN_GOLDEN_STEPS && golden.ids.last() !in stops) {
        fail("golden.ids", "has ${golden.ids.size} steps; it needs $MIN_GOLDEN_STEPS, or a stop id at its end")
    }
    val context = manifest.context
    if (!context.isEndless && golden.promptIds.size + golden.ids.size - 1 > context.tokens) {
        fail("golden.ids", "does not fit with the prompt into the bounded context of ${context.tokens} tokens")
    }
    if (golden.margins.size != golden.ids.size) {
        fail("golden.margins", "has ${golden.margins.size} entries for ${golden.ids.size} ids")
    }
    val sure = golden.margins.indexOfFirst { it < golden.noiseFloor }.let { if (it < 0) golden.ids.size else it }
    if (golden.compared != sure.toLong()) {
        fail(
            "golden.compared",
            "is ${golden.compared}; $sure leading margins reach the noise floor ${golden.noiseFloor}",
        )
    }
}

private fun checkOrigin(origin: Origin) {
    if (origin.command.any { it in "/\\\n" }) {
        fail("origin.command", "holds a path or a line break; write option names and values only")
    }
}

private fun checkIds(path: String, ids: List<Long>, vocabSize: Long) {
    val wrong = ids.firstOrNull { it >= vocabSize } ?: return
    fail(path, "holds id $wrong; the vocabulary ends at ${vocabSize - 1}")
}

internal fun checkUnique(path: String, field: String, values: List<String>) {
    val (value, count) = values.groupingBy { it }.eachCount().entries.firstOrNull { it.value > 1 } ?: return
    fail(path, "has $count entries with $field $value; each may stand once")
}

private fun spelled(value: Long?): String = value?.toString() ?: "null"
