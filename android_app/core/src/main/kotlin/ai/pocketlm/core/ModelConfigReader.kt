// Reads `model.config` of a manifest and checks what must hold inside it. Port of model/config.py.
package ai.pocketlm.core

private val POSITIVE = listOf(
    "vocab_size", "dim", "num_layers", "num_heads", "num_kv_heads", "head_dim", "ffn_dim", "sliding_window",
    "max_context",
)
private val KEYS = listOf(
    "vocab_size", "dim", "num_layers", "num_heads", "num_kv_heads", "head_dim", "ffn_dim", "global_layers",
    "sliding_window", "max_context", "norm_eps", "rope_theta", "rope_scaling", "rope_layout", "no_rope_layers",
    "qk_norm", "temperature_floor", "temperature_scale", "tied",
)

/** The matrices of one layer: their names in recipes, in the order in which a layer uses them. */
internal val LAYER_MATRICES = listOf(
    "attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj", "feed_forward.gate_proj",
    "feed_forward.up_proj", "feed_forward.down_proj",
)

internal fun readModelConfig(place: Place): ModelConfig {
    val at = place.fields(KEYS)
    fun integer(key: String) = at.getValue(key).anyInteger()
    val config = ModelConfig(
        vocabSize = integer("vocab_size"),
        dim = integer("dim"),
        numLayers = integer("num_layers"),
        numHeads = integer("num_heads"),
        numKvHeads = integer("num_kv_heads"),
        headDim = integer("head_dim"),
        ffnDim = integer("ffn_dim"),
        globalLayers = at.getValue("global_layers").items().map { it.anyInteger() },
        slidingWindow = integer("sliding_window"),
        maxContext = integer("max_context"),
        normEps = at.getValue("norm_eps").number(),
        ropeTheta = at.getValue("rope_theta").number(),
        ropeScaling = at.getValue("rope_scaling").takeIf { it.value != Json.Null }?.let(::readScaling),
        ropeLayout = at.getValue("rope_layout").oneOf("interleaved", "halves"),
        noRopeLayers = at.getValue("no_rope_layers").items().map { it.anyInteger() },
        qkNorm = at.getValue("qk_norm").flag(),
        temperatureFloor = integer("temperature_floor"),
        temperatureScale = at.getValue("temperature_scale").number(),
        tied = at.getValue("tied").flag(),
    )
    guarded(place.path) { check(config) }
    return config
}

private fun readScaling(place: Place): RopeScaling {
    val at = place.fields(listOf("factor", "low_freq_factor", "high_freq_factor", "original_context"))
    val scaling = RopeScaling(
        factor = at.getValue("factor").number(),
        lowFreqFactor = at.getValue("low_freq_factor").number(),
        highFreqFactor = at.getValue("high_freq_factor").number(),
        originalContext = at.getValue("original_context").anyInteger(),
    )
    guarded(place.path) {
        checkNumber("rope_scaling.factor", scaling.factor, isAboveZero = true)
        checkNumber("rope_scaling.low_freq_factor", scaling.lowFreqFactor, isAboveZero = true)
        checkNumber("rope_scaling.high_freq_factor", scaling.highFreqFactor, isAboveZero = true)
        checkInteger("rope_scaling.original_context", scaling.originalContext, least = 1)
        if (scaling.lowFreqFactor >= scaling.highFreqFactor) {
            throw PocketError(
                "rope_scaling.low_freq_factor ${scaling.lowFreqFactor} must be below high_freq_factor " +
                    "${scaling.highFreqFactor}",
            )
        }
    }
    return scaling
}

private fun check(config: ModelConfig) {
    val values = listOf(
        config.vocabSize, config.dim, config.numLayers, config.numHeads, config.numKvHeads, config.headDim,
        config.ffnDim, config.slidingWindow, config.maxContext,
    )
    POSITIVE.zip(values).forEach { (name, value) -> checkInteger(name, value, least = 1) }
    checkInteger("temperature_floor", config.temperatureFloor, least = 0)
    checkNumber("norm_eps", config.normEps, isAboveZero = true)
    checkNumber("rope_theta", config.ropeTheta, isAboveZero = true)
    checkNumber("temperature_scale", config.temperatureScale, isAboveZero = false)
    if (config.numHeads % config.numKvHeads != 0L) {
        throw PocketError("num_heads ${config.numHeads} is not a multiple of num_kv_heads ${config.numKvHeads}")
    }
    if (config.headDim % 2 != 0L) throw PocketError("head_dim ${config.headDim} is odd; rotary positions need pairs")
    for ((name, layers) in listOf("global_layers" to config.globalLayers, "no_rope_layers" to config.noRopeLayers)) {
        if (layers != layers.distinct().sorted() || layers.any { it < 0 || it >= config.numLayers }) {
            throw PocketError("$name $layers must be increasing indices below ${config.numLayers}")
        }
    }
}

private fun checkInteger(name: String, value: Long, least: Long) {
    if (value < least) throw PocketError("$name is $value; it must be at least $least")
}

private fun checkNumber(name: String, value: Double, isAboveZero: Boolean) {
    if (value < 0 || isAboveZero && value == 0.0) {
        throw PocketError("$name is $value; it must be ${if (isAboveZero) "above 0" else "at least 0"}")
    }
}

/** How many weights the shape has; saturates, so that absurd widths are a wrong sum and no overflow. */
internal fun numParameters(config: ModelConfig): Long {
    val wide = times(config.numHeads, config.headDim)
    val narrow = times(config.numKvHeads, config.headDim)
    val attention = plus(times(2, times(wide, config.dim)), times(2, times(narrow, config.dim)))
    val layer = plus(plus(attention, times(3, times(config.ffnDim, config.dim))), times(2, config.dim))
    val tables = times(times(config.vocabSize, config.dim), if (config.tied) 1 else 2)
    return plus(plus(tables, times(config.numLayers, layer)), config.dim)
}

/** A product or sum of numbers that are not negative; the largest 64-bit integer when it does not fit. */
internal fun times(a: Long, b: Long): Long = if (b != 0L && a > Long.MAX_VALUE / b) Long.MAX_VALUE else a * b

internal fun plus(a: Long, b: Long): Long = if (a > Long.MAX_VALUE - b) Long.MAX_VALUE else a + b
