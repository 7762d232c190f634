// Reads manifest.json strictly: types and bounds of single fields. Port of export/manifest.py and manifest_parts.py.
package ai.pocketlm.core

const val MAX_MANIFEST_BYTES = 16 shl 20 // Llama 4's 2,048 special tokens make about 0.2 MB

private val SHA256 = Regex("[0-9a-f]{64}")
private val SLUG = Regex("[a-z0-9]+(-[a-z0-9]+)*")
private val RELEASE = Regex("[0-9]+\\.[0-9]+(\\.[0-9]+)?")
private val PACKAGE_PATH = Regex("[A-Za-z0-9_][A-Za-z0-9_.+() -]*(/[A-Za-z0-9_][A-Za-z0-9_.+() -]*)*")

/**
 * Why a manifest cannot be used.
 *
 * @property reason without the file's name and the advice.
 * @property newerSchema the schema version that the package needs, when that is the reason.
 */
class ManifestError(message: String, val reason: String, val newerSchema: String? = null) : PocketError(message)

/** Reads the bytes of a manifest.json strictly; throws `ManifestError`. */
fun readManifest(content: ByteArray): Manifest {
    if (content.size > MAX_MANIFEST_BYTES) {
        val reason = "manifest.json has ${content.size} bytes; at most $MAX_MANIFEST_BYTES are read"
        throw ManifestError(reason, reason)
    }
    val value = try {
        Json.read(content)
    } catch (error: JsonError) {
        val reason = when (error) {
            is JsonError.Malformed -> "manifest.json is not valid JSON (${error.message})"
            is JsonError.DuplicateKey -> "manifest.json has the key ${shown(error.key)} twice in one object"
            is JsonError.Constant -> "manifest.json holds ${error.name}, which is not JSON"
        }
        throw ManifestError("$reason; copy the package again", reason)
    }
    return parseManifest(value)
}

/** Reads a parsed manifest.json strictly; the `ManifestError` names the place in the document. */
fun parseManifest(value: Json): Manifest {
    if (value is Json.Object) checkVersion(value["schema_version"])
    return try {
        readManifest(Place(value, "")).also(::checkManifest)
    } catch (error: ManifestError) {
        throw error
    } catch (error: PocketError) {
        throw ManifestError("manifest.json: ${error.message}", error.message)
    }
}

private fun checkVersion(version: Json?) {
    val isHuge = version is Json.Huge && !version.digits.startsWith("-")
    if (version != null && (isHuge || version is Json.Whole && version.value > SCHEMA_VERSION)) {
        val reason = "this package needs a newer pocketlm: schema ${shown(version)}, this one reads $SCHEMA_VERSION"
        throw ManifestError(reason, reason, newerSchema = shown(version))
    }
    if (version !is Json.Whole || version.value < 1) {
        val given = if (version == null || version == Json.Null) "is missing" else "is ${shown(version)}"
        val reason = "schema_version $given; it must be $SCHEMA_VERSION"
        throw ManifestError("manifest.json: $reason", reason)
    }
}

private fun readManifest(document: Place): Manifest {
    val at = document.fields(
        listOf(
            "schema_version", "target", "runner", "methods", "model", "cache", "context", "window", "chunk", "files",
            "tokenizer", "template", "recipe", "memory", "golden", "origin",
        ),
    )
    return Manifest(
        schemaVersion = at.getValue("schema_version").oneOf(SCHEMA_VERSION),
        target = at.getValue("target").slug(),
        runner = readRunner(at.getValue("runner")),
        methods = at.getValue("methods").members(least = 1).mapValues { readMethod(it.value) },
        model = readModel(at.getValue("model")),
        cache = readCache(at.getValue("cache")),
        context = readContext(at.getValue("context")),
        window = at.getValue("window").integerOrNull(1),
        chunk = at.getValue("chunk").integer(1),
        files = at.getValue("files").items(least = 1).map(::readFile),
        tokenizer = readTokenizer(at.getValue("tokenizer")),
        template = readTemplate(at.getValue("template")),
        recipe = readRecipe(at.getValue("recipe")),
        memory = readMemory(at.getValue("memory")),
        golden = readGolden(at.getValue("golden")),
        origin = readOrigin(at.getValue("origin")),
    )
}

private fun readRunner(place: Place): RunnerSpec {
    val at = place.fields(listOf("kind", "min_runtime"))
    return RunnerSpec(
        kind = at.getValue("kind").oneOf("text-llm", "static-kv"),
        minRuntime = at.getValue("min_runtime").text(RELEASE, "a release like 1.5.1"),
    )
}

private fun readMethod(place: Place): MethodSpec {
    val at = place.fields(listOf("inputs", "outputs"))
    return MethodSpec(
        inputs = at.getValue("inputs").items(least = 1).map(::readTensor),
        outputs = at.getValue("outputs").items(least = 1).map(::readTensor),
    )
}

private fun readTensor(place: Place): TensorSpec {
    val at = place.fields(listOf("name", "dtype", "shape", "dynamic"))
    return TensorSpec(
        name = at.getValue("name").text(1),
        dtype = at.getValue("dtype").oneOf("int64", "int32", "float32", "float16", "int8"),
        shape = at.getValue("shape").integers(1),
        dynamic = at.getValue("dynamic").integers(0),
    )
}

private fun readModel(place: Place): ModelSpec {
    val at = place.fields(listOf("preset", "family", "parameters", "config"))
    return ModelSpec(
        preset = at.getValue("preset").textOrNull(1),
        family = at.getValue("family").text(1),
        parameters = at.getValue("parameters").integer(1),
        config = readModelConfig(at.getValue("config")),
    )
}

private fun readCache(place: Place): CacheSpec {
    val at = place.fields(listOf("layers", "bytes"))
    val layers = at.getValue("layers").items(least = 1).map { item ->
        val layer = item.fields(listOf("layer", "kind", "ring", "slots", "window", "dtype", "bytes"))
        CacheLayer(
            layer = layer.getValue("layer").integer(0),
            kind = layer.getValue("kind").oneOf("global", "local"),
            ring = layer.getValue("ring").flag(),
            slots = layer.getValue("slots").integer(1),
            window = layer.getValue("window").integer(1),
            dtype = layer.getValue("dtype").oneOf("float32", "float16", "int8"),
            bytes = layer.getValue("bytes").integer(1),
        )
    }
    return CacheSpec(layers, at.getValue("bytes").integer(1))
}

private fun readContext(place: Place): Context {
    val at = place.fields(listOf("kind", "tokens"))
    val kind = at.getValue("kind").oneOf("endless", "bounded")
    val tokens = at.getValue("tokens").anyInteger()
    return guarded(place.path) { Context(kind, tokens) }
}

private fun readFile(place: Place): PackageFile {
    val at = place.fields(listOf("path", "bytes", "sha256", "role"))
    return PackageFile(
        path = at.getValue("path").packagePath(),
        bytes = at.getValue("bytes").integer(0),
        sha256 = at.getValue("sha256").sha256(),
        role = at.getValue("role").oneOf("program", "tokenizer", "licence"),
    )
}

private fun readTokenizer(place: Place): TokenizerSpec {
    val at = place.fields(
        listOf("file", "kind", "vocab_size", "bos_id", "num_bos", "bos_text", "stop_ids", "special_tokens"),
    )
    return TokenizerSpec(
        file = at.getValue("file").packagePath(),
        kind = at.getValue("kind").oneOf("hf", "sentencepiece"),
        vocabSize = at.getValue("vocab_size").integer(1),
        bosId = at.getValue("bos_id").integerOrNull(0),
        numBos = at.getValue("num_bos").oneOf(0, 1),
        bosText = at.getValue("bos_text").text(),
        stopIds = at.getValue("stop_ids").integers(0),
        specialTokens = at.getValue("special_tokens").items().map { item ->
            val token = item.fields(listOf("id", "text"))
            SpecialToken(token.getValue("id").integer(0), token.getValue("text").text(1))
        },
    )
}

private fun readTemplate(place: Place): Template =
    guarded(place.path) {
        val template = Template.of(place.value)
        if (holdsLoneSurrogate(place.value)) {
            throw PocketError("it holds half of a surrogate pair; text must be valid Unicode")
        }
        template
    }

private fun readRecipe(place: Place): RecipeRecord {
    val at = place.fields(listOf("name", "group_size", "layers", "exceptions"))
    return RecipeRecord(
        name = at.getValue("name").slug(),
        groupSize = at.getValue("group_size").integerOrNull(1),
        layers = at.getValue("layers").members().mapValues { (_, item) ->
            val kind = item.fields(listOf("scheme", "bits", "group_size", "count"))
            LayerKind(kind.scheme(), kind.bits(), kind.groupSize(), kind.getValue("count").integer(1))
        },
        exceptions = at.getValue("exceptions").members().mapValues { (_, item) ->
            val layer = item.fields(listOf("scheme", "bits", "group_size", "reason"))
            LayerException(layer.scheme(), layer.bits(), layer.groupSize(), layer.getValue("reason").text(1))
        },
    )
}

private fun Map<String, Place>.scheme(): String = getValue("scheme").slug()

private fun Map<String, Place>.bits(): Long = getValue("bits").oneOf(4, 8, 16, 32)

private fun Map<String, Place>.groupSize(): Long? = getValue("group_size").integerOrNull(1)

private fun readMemory(place: Place): MemorySpec {
    val at = place.fields(listOf("cache_bytes", "program_bytes", "estimated_peak_bytes", "estimate"))
    return MemorySpec(
        cacheBytes = at.getValue("cache_bytes").integer(1),
        programBytes = at.getValue("program_bytes").integer(1),
        estimatedPeakBytes = at.getValue("estimated_peak_bytes").integer(1),
        estimate = at.getValue("estimate").text(1),
    )
}

private fun readGolden(place: Place): Golden {
    val at = place.fields(listOf("prompt", "prompt_ids", "ids", "text", "margins", "noise_floor", "compared"))
    return Golden(
        prompt = at.getValue("prompt").text(1),
        promptIds = at.getValue("prompt_ids").integers(0, leastItems = 1),
        ids = at.getValue("ids").integers(0, leastItems = 1),
        text = at.getValue("text").text(),
        margins = at.getValue("margins").items().map { it.number(0.0) },
        noiseFloor = at.getValue("noise_floor").number(0.0),
        compared = at.getValue("compared").integer(0),
    )
}

private fun readOrigin(place: Place): Origin {
    val at = place.fields(listOf("source_sha256", "checkpoint_sha256", "tool_version", "versions", "command"))
    return Origin(
        sourceSha256 = at.getValue("source_sha256").sha256(),
        checkpointSha256 = at.getValue("checkpoint_sha256").sha256(),
        toolVersion = at.getValue("tool_version").text(1),
        versions = at.getValue("versions").members(least = 1).mapValues { it.value.text(1) },
        command = at.getValue("command").text(1),
    )
}

private fun Place.slug(): String = text(SLUG, "lower-case letters and digits, joined by single hyphens")

private fun Place.sha256(): String = text(SHA256, "64 lower-case hexadecimal digits")

private fun Place.packagePath(): String =
    text(PACKAGE_PATH, "a relative path inside the package: ASCII names joined by '/', none beginning with a dot")

internal fun Place.integers(least: Long, leastItems: Int = 0): List<Long> = items(leastItems).map { it.integer(least) }

/** Puts the place before the sentence of a type that checks itself. */
internal fun <T> guarded(path: String, make: () -> T): T =
    try {
        make()
    } catch (error: PocketError) {
        throw PlaceError(path, ": ${error.message}")
    }

private fun holdsLoneSurrogate(value: Json): Boolean =
    when (value) {
        is Json.Text -> hasLoneSurrogate(value.value)
        is Json.Items -> value.items.any(::holdsLoneSurrogate)
        is Json.Object -> value.entries.any { hasLoneSurrogate(it.key) || holdsLoneSurrogate(it.value) }
        else -> false
    }
