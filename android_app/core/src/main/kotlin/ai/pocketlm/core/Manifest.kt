// A package's manifest, schema v1, as data: the contract of docs/package.md. Sizes are bytes, lengths tokens or slots.
package ai.pocketlm.core

const val SCHEMA_VERSION = 1L
const val MANIFEST_NAME = "manifest.json"

/** Everything that an app needs to know about a package before and while it runs it. */
data class Manifest(
    val schemaVersion: Long,
    val target: String,
    val runner: RunnerSpec,
    val methods: Map<String, MethodSpec>,
    val model: ModelSpec,
    val cache: CacheSpec,
    val context: Context,
    val window: Long?,
    val chunk: Long,
    val files: List<PackageFile>,
    val tokenizer: TokenizerSpec,
    val template: Template,
    val recipe: RecipeRecord,
    val memory: MemorySpec,
    val golden: Golden,
    val origin: Origin,
) {
    /** Whether a chat may begin with a system text. */
    val takesSystem: Boolean get() = (template as? ChatTemplate)?.roles?.containsKey("system") == true

    /** The texts of this package's chats. */
    fun turns(): Turns = Turns.of(template, tokenizer.specialTokens.map { it.id to it.text }, tokenizer.stopIds)
}

/**
 * What an app must drive the program with.
 *
 * @property kind `text-llm` or `static-kv`.
 * @property minRuntime the oldest ExecuTorch release.
 */
data class RunnerSpec(val kind: String, val minRuntime: String)

/**
 * One input or output of a method, in calling order.
 *
 * @property shape the largest sizes.
 * @property dynamic indices of dimensions that may be anything from 1 to that size.
 */
data class TensorSpec(val name: String, val dtype: String, val shape: List<Long>, val dynamic: List<Long>)

data class MethodSpec(val inputs: List<TensorSpec>, val outputs: List<TensorSpec>)

data class ModelSpec(val preset: String?, val family: String, val parameters: Long, val config: ModelConfig)

/** Llama 3.1's frequency scaling. */
data class RopeScaling(
    val factor: Double,
    val lowFreqFactor: Double,
    val highFreqFactor: Double,
    val originalContext: Long,
)

/** All that decides the model's arithmetic (model/config.py). */
data class ModelConfig(
    val vocabSize: Long,
    val dim: Long,
    val numLayers: Long,
    val numHeads: Long,
    val numKvHeads: Long,
    val headDim: Long,
    val ffnDim: Long,
    val globalLayers: List<Long>,
    val slidingWindow: Long,
    val maxContext: Long,
    val normEps: Double,
    val ropeTheta: Double,
    val ropeScaling: RopeScaling?,
    val ropeLayout: String,
    val noRopeLayers: List<Long>,
    val qkNorm: Boolean,
    val temperatureFloor: Long,
    val temperatureScale: Double,
    val tied: Boolean,
) {
    fun isGlobal(layer: Long): Boolean = layer in globalLayers
}

/**
 * Keys and values of one layer. The token at position p lies in slot p mod slots.
 *
 * @property window positions that a query sees, its own included.
 * @property bytes keys, values, scales and zero points.
 */
data class CacheLayer(
    val layer: Long,
    val kind: String,
    val ring: Boolean,
    val slots: Long,
    val window: Long,
    val dtype: String,
    val bytes: Long,
)

data class CacheSpec(val layers: List<CacheLayer>, val bytes: Long)

/** One file beside the manifest; its role is `program`, `tokenizer` or `licence`. */
data class PackageFile(val path: String, val bytes: Long, val sha256: String, val role: String)

data class SpecialToken(val id: Long, val text: String)

/**
 * How text becomes ids.
 *
 * @property numBos ids of `bosId` that the runner must put before the first prompt.
 * @property bosText what the first prompt's text must begin with instead, or "".
 */
data class TokenizerSpec(
    val file: String,
    val kind: String,
    val vocabSize: Long,
    val bosId: Long?,
    val numBos: Long,
    val bosText: String,
    val stopIds: List<Long>,
    val specialTokens: List<SpecialToken>,
)

data class LayerKind(val scheme: String, val bits: Long, val groupSize: Long?, val count: Long)

data class LayerException(val scheme: String, val bits: Long, val groupSize: Long?, val reason: String)

data class RecipeRecord(
    val name: String,
    val groupSize: Long?,
    val layers: Map<String, LayerKind>,
    val exceptions: Map<String, LayerException>,
)

data class MemorySpec(
    val cacheBytes: Long,
    val programBytes: Long,
    val estimatedPeakBytes: Long,
    val estimate: String,
)

/** A greedy generation that every machine must repeat for `compared` tokens. */
data class Golden(
    val prompt: String,
    val promptIds: List<Long>,
    val ids: List<Long>,
    val text: String,
    val margins: List<Double>,
    val noiseFloor: Double,
    val compared: Long,
)

data class Origin(
    val sourceSha256: String,
    val checkpointSha256: String,
    val toolVersion: String,
    val versions: Map<String, String>,
    val command: String,
)
