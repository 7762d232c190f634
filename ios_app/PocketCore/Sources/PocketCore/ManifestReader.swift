// Reads a manifest.json strictly: every key present, none unknown, types and bounds as in export/manifest_parts.py.

extension Manifest {
    static let keys = [
        "schema_version", "target", "runner", "methods", "model", "cache", "context", "window", "chunk", "files",
        "tokenizer", "template", "recipe", "memory", "golden", "origin",
    ]

    /// Reads the bytes of a manifest.json.
    ///
    /// - Throws: `PocketError`: it is not UTF-8 JSON, a key stands twice, a key is missing, unknown or mistyped, or a
    ///   rule is broken; one sentence that names the place. A newer schema has the key `newerSchema`.
    public static func read(_ content: [UInt8]) throws -> Manifest {
        if content.count > maxBytes {
            throw PocketError("\(fileName) has \(content.count) bytes; at most \(maxBytes) are read")
        }
        do {
            return try parse(Json.read(content))
        } catch JsonError.duplicateKey(let key) {
            throw PocketError("\(fileName) has the key \(Shown.short(key)) twice in one object; copy the package again")
        } catch JsonError.constant(let name) {
            throw PocketError("\(fileName) holds \(name), which is not JSON; copy the package again")
        } catch let error as JsonError {
            throw PocketError("\(fileName) is not valid JSON (\(error.reason)); copy the package again")
        }
    }

    /// Reads a parsed manifest.json.
    public static func parse(_ data: JsonValue) throws -> Manifest {
        if case .object(let object) = data { try checkVersion(object["schema_version"] ?? .null) }
        do {
            let manifest = try Manifest(Place(value: data, path: ""))
            try ManifestRules(manifest: manifest).check()
            return manifest
        } catch let error as PocketError {
            throw PocketError("\(fileName): \(error.text)")
        }
    }

    private static func checkVersion(_ version: JsonValue) throws {
        switch version {
        case .integer(let number) where number > schemaVersion: throw newer(String(number))
        case .outsized(let digits) where !digits.hasPrefix("-"): throw newer(digits)
        case .integer(let number) where number == schemaVersion: return
        default:
            let given = version == .null ? "is missing" : "is \(Shown.short(version))"
            throw PocketError("\(fileName): schema_version \(given); it must be \(schemaVersion)")
        }
    }

    private static func newer(_ version: String) -> PocketError {
        PocketError(
            "this package needs a newer pocketlm: schema \(version), this one reads \(schemaVersion)",
            key: .newerSchema)
    }

    private init(_ place: Place) throws {
        let object = try place.object(Self.keys)
        _ = try object["schema_version"].oneOf([Self.schemaVersion])
        target = try object["target"].string(.slug)
        runner = try Runner(object["runner"])
        methods = try object["methods"].members(least: 1).map {
            NamedMethod(name: $0.key, method: try Method($0.place))
        }
        model = try Model(object["model"])
        cache = try Cache(object["cache"])
        context = try Context(object["context"])
        window = try object["window"].optional { try $0.int(least: 1) }
        chunk = try object["chunk"].int(least: 1)
        files = try object["files"].list(least: 1).map(File.init)
        tokenizer = try TokenizerFacts(object["tokenizer"])
        template = try Self.readTemplate(object["template"])
        recipe = try Recipe(object["recipe"])
        memory = try Memory(object["memory"])
        golden = try Golden(object["golden"])
        origin = try Origin(object["origin"])
    }

    private static func readTemplate(_ place: Place) throws -> Template {
        try place.guarded {
            let template = try Template.fromJson(place.value)
            if isBroken(place.value) {
                throw PocketError("it holds half of a surrogate pair; text must be valid Unicode")
            }
            return template
        }
    }

    private static func isBroken(_ value: JsonValue) -> Bool {
        switch value {
        case .broken: return true
        case .array(let items): return items.contains(where: isBroken)
        case .object(let object): return object.entries.contains { isBroken($0.value) }
        default: return false
        }
    }
}

extension Context {
    init(_ place: Place) throws {
        let object = try place.object(["kind", "tokens"])
        let kind = try object["kind"].oneOf(Kind.self)
        let tokens = try object["tokens"].int()
        self = try place.guarded { try Context(kind: kind, tokens: tokens) }
    }
}

extension Manifest.Runner {
    init(_ place: Place) throws {
        let object = try place.object(["kind", "min_runtime"])
        kind = try object["kind"].oneOf(Manifest.RunnerKind.self)
        minRuntime = try object["min_runtime"].string(.release)
    }
}

extension Manifest.TensorSpec {
    init(_ place: Place) throws {
        let object = try place.object(["name", "dtype", "shape", "dynamic"])
        name = try object["name"].string(least: 1)
        type = try object["dtype"].oneOf(Manifest.TensorType.self)
        shape = try object["shape"].list().map { try $0.int(least: 1) }
        dynamic = try object["dynamic"].list().map { try $0.int(least: 0) }
    }
}

extension Manifest.Method {
    init(_ place: Place) throws {
        let object = try place.object(["inputs", "outputs"])
        inputs = try object["inputs"].list(least: 1).map(Manifest.TensorSpec.init)
        outputs = try object["outputs"].list(least: 1).map(Manifest.TensorSpec.init)
    }
}

extension Manifest.Model {
    init(_ place: Place) throws {
        let object = try place.object(["preset", "family", "parameters", "config"])
        preset = try object["preset"].optional { try $0.string(least: 1) }
        family = try object["family"].string(least: 1)
        parameters = try object["parameters"].int(least: 1)
        config = try ModelConfig(object["config"])
    }
}

extension Manifest.CacheLayer {
    init(_ place: Place) throws {
        let object = try place.object(["layer", "kind", "ring", "slots", "window", "dtype", "bytes"])
        layer = try object["layer"].int(least: 0)
        kind = try object["kind"].oneOf(Manifest.LayerKind.self)
        ring = try object["ring"].bool()
        slots = try object["slots"].int(least: 1)
        window = try object["window"].int(least: 1)
        type = try object["dtype"].oneOf(Manifest.CacheType.self)
        bytes = try object["bytes"].int(least: 1)
    }
}

extension Manifest.Cache {
    init(_ place: Place) throws {
        let object = try place.object(["layers", "bytes"])
        layers = try object["layers"].list(least: 1).map(Manifest.CacheLayer.init)
        bytes = try object["bytes"].int(least: 1)
    }
}

extension Manifest.File {
    init(_ place: Place) throws {
        let object = try place.object(["path", "bytes", "sha256", "role"])
        path = try object["path"].string(.path)
        bytes = try object["bytes"].int(least: 0)
        sha256 = try object["sha256"].string(.sha256)
        role = try object["role"].oneOf(Role.self)
    }
}

extension Manifest.TokenizerFacts {
    init(_ place: Place) throws {
        let object = try place.object([
            "file", "kind", "vocab_size", "bos_id", "num_bos", "bos_text", "stop_ids", "special_tokens",
        ])
        file = try object["file"].string(.path)
        kind = try object["kind"].oneOf(Kind.self)
        vocabSize = try object["vocab_size"].int(least: 1)
        bosId = try object["bos_id"].optional { try $0.int(least: 0) }
        numBos = try object["num_bos"].oneOf([0, 1])
        bosText = try object["bos_text"].string()
        stopIds = try object["stop_ids"].list().map { try $0.int(least: 0) }
        specialTokens = try object["special_tokens"].list().map { place in
            let token = try place.object(["id", "text"])
            return Manifest.SpecialToken(id: try token["id"].int(least: 0), text: try token["text"].string(least: 1))
        }
    }
}

extension Manifest.Recipe {
    init(_ place: Place) throws {
        let object = try place.object(["name", "group_size", "layers", "exceptions"])
        name = try object["name"].string(.slug)
        groupSize = try object["group_size"].optional { try $0.int(least: 1) }
        var layers: [String: Manifest.Scheme] = [:]
        for (key, place) in try object["layers"].members() {
            let layer = try place.object(["scheme", "bits", "group_size", "count"])
            layers[key] = Manifest.Scheme(
                scheme: try layer["scheme"].string(.slug), bits: try layer["bits"].oneOf([4, 8, 16, 32]),
                groupSize: try layer["group_size"].optional { try $0.int(least: 1) },
                count: try layer["count"].int(least: 1))
        }
        self.layers = layers
        exceptions = try object["exceptions"].members().map { key, place in
            let layer = try place.object(["scheme", "bits", "group_size", "reason"])
            return Manifest.SchemeException(
                layer: key, scheme: try layer["scheme"].string(.slug), bits: try layer["bits"].oneOf([4, 8, 16, 32]),
                groupSize: try layer["group_size"].optional { try $0.int(least: 1) },
                reason: try layer["reason"].string(least: 1))
        }
    }
}

extension Manifest.Memory {
    init(_ place: Place) throws {
        let object = try place.object(["cache_bytes", "program_bytes", "estimated_peak_bytes", "estimate"])
        cacheBytes = try object["cache_bytes"].int(least: 1)
        programBytes = try object["program_bytes"].int(least: 1)
        estimatedPeakBytes = try object["estimated_peak_bytes"].int(least: 1)
        estimate = try object["estimate"].string(least: 1)
    }
}

extension Manifest.Golden {
    init(_ place: Place) throws {
        let object = try place.object([
            "prompt", "prompt_ids", "ids", "text", "margins", "noise_floor", "compared",
        ])
        prompt = try object["prompt"].string(least: 1)
        promptIds = try object["prompt_ids"].list(least: 1).map { try $0.int(least: 0) }
        ids = try object["ids"].list(least: 1).map { try $0.int(least: 0) }
        text = try object["text"].string()
        margins = try object["margins"].list().map { try $0.number(least: 0) }
        noiseFloor = try object["noise_floor"].number(least: 0)
        compared = try object["compared"].int(least: 0)
    }
}

extension Manifest.Origin {
    init(_ place: Place) throws {
        let object = try place.object(["source_sha256", "checkpoint_sha256", "tool_version", "versions", "command"])
        sourceSha256 = try object["source_sha256"].string(.sha256)
        checkpointSha256 = try object["checkpoint_sha256"].string(.sha256)
        toolVersion = try object["tool_version"].string(least: 1)
        var versions: [String: String] = [:]
        for (key, place) in try object["versions"].members(least: 1) { versions[key] = try place.string(least: 1) }
        self.versions = versions
        command = try object["command"].string(least: 1)
    }
}
