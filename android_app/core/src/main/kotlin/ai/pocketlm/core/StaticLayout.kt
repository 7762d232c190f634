// What a static-kv program takes and gives: every method's tensors in calling order. Port of export/static_layout.py.
//
// Shapes: T tokens of one call, S slots of a layer's ring.
package ai.pocketlm.core

private const val MAX_ROWS = 16_384L // of a matrix on the Neural Engine; the head is cut into chunks of at most so many

/** The methods of a static-kv program: `prefill` beside `forward`, or one `forward` that takes the chunk. */
internal fun staticMethods(
    config: ModelConfig,
    layers: List<CacheLayer>,
    chunk: Long,
    hasPrefill: Boolean,
): Map<String, MethodSpec> {
    val lengths = if (hasPrefill && chunk > 1) mapOf("prefill" to chunk, "forward" to 1L) else mapOf("forward" to chunk)
    return lengths.mapValues { (_, length) ->
        MethodSpec(inputs(config, layers, length), outputs(config, layers, length))
    }
}

/** Tokens, which of them is the last, their rows, a mask a kind of layer, then keys and values layer by layer. */
private fun inputs(config: ModelConfig, layers: List<CacheLayer>, length: Long): List<TensorSpec> {
    val specs = mutableListOf(spec("tokens", "int32", 1, length), half("last", 1, length))
    for (name in listOf("cos", "sin")) specs += half(name, length, config.headDim / 2)
    if (config.temperatureFloor != 0L && config.noRopeLayers.isNotEmpty()) specs += half("temperature", length, 1)
    for (kind in listOf("local", "global")) {
        val slots = layers.firstOrNull { it.kind == kind }?.slots ?: continue
        specs += half("mask_$kind", length, slots + length) // the ring's slots, then the new tokens
    }
    for (layer in layers) {
        for (side in listOf("k", "v")) {
            specs += half("${side}_cache_${layer.layer}", 1, config.numKvHeads, layer.slots, config.headDim)
        }
    }
    return specs
}

/** Logits, in as many pieces as the head has chunks, then the new tokens' keys and values layer by layer. */
private fun outputs(config: ModelConfig, layers: List<CacheLayer>, length: Long): List<TensorSpec> {
    val rows = rowChunks(config.vocabSize)
    val specs = rows.mapIndexed { i, count -> half(if (rows.size > 1) "logits_$i" else "logits", 1, count) }
    return specs + layers.flatMap { layer ->
        listOf("k", "v").map { half("${it}_new_${layer.layer}", 1, config.numKvHeads, length, config.headDim) }
    }
}

/** Rows of each chunk of the head: as few and as equal as they can be. */
private fun rowChunks(vocabSize: Long): List<Long> {
    val count = (vocabSize + MAX_ROWS - 1) / MAX_ROWS
    return (0 until count).map { vocabSize / count + if (it < vocabSize % count) 1 else 0 }
}

private fun half(name: String, vararg shape: Long) = spec(name, "float16", *shape)

private fun spec(name: String, dtype: String, vararg shape: Long) = TensorSpec(name, dtype, shape.toList(), emptyList())
