// The rules between the sections of a manifest: sums that must agree, ids in range, what a runner can drive.

/// Checks a manifest whose fields were read; every rule's sentence begins with the place in the document.
struct ManifestRules {
    static let minGoldenSteps = 16

    let manifest: Manifest
    var config: ModelConfig { manifest.model.config }

    func check() throws {
        if manifest.model.parameters != config.numParameters {
            throw PocketError(
                "model.parameters is \(manifest.model.parameters), but model.config makes \(config.numParameters)")
        }
        try checkContext()
        try checkCache()
        try MethodRules(manifest: manifest).check()
        try checkFiles()
        try checkMemory()
        try checkTokenizer()
        try checkEndOfTurn()
        try checkRecipe()
        try checkGolden()
        if manifest.origin.command.utf8.contains(where: { Array("/\\\n".utf8).contains($0) }) {
            throw PocketError(
                "origin.command holds a path or a line break; write option names and values only")
        }
    }

    private func checkContext() throws {
        let (context, chunk) = (manifest.context, manifest.chunk)
        if chunk > (context.kind == .endless ? context.tokens - 1 : context.tokens) {
            let reason =
                context.kind == .endless
                ? "a text runner treats it as endless only if the chunk is smaller" : "no prompt can be longer"
            throw PocketError(
                "chunk is \(chunk), but context.tokens is \(context.tokens) and \(context.kind.rawValue): \(reason)")
        }
        if let window = manifest.window, window > context.tokens {
            throw PocketError("window is \(window), more than context.tokens \(context.tokens)")
        }
        let hasLocal = config.globalLayers.count < config.numLayers
        let expected = hasLocal ? min(config.slidingWindow, context.tokens) : nil
        if manifest.window != expected {
            let (given, wanted) = (Self.spelled(manifest.window), Self.spelled(expected))
            throw PocketError("window is \(given); the model's layers and context make it \(wanted)")
        }
    }

    private func checkCache() throws {
        let cache = manifest.cache
        if cache.layers.count != config.numLayers {
            throw PocketError("cache.layers has \(cache.layers.count) entries for \(config.numLayers) layers")
        }
        for (i, layer) in cache.layers.enumerated() {
            let path = "cache.layers[\(i)]"
            if layer.layer != i {
                throw PocketError("\(path).layer is \(layer.layer); the layers must stand in order, so \(i)")
            }
            let kind: Manifest.LayerKind = config.globalLayers.contains(i) ? .global : .local
            if layer.kind != kind {
                throw PocketError(
                    "\(path).kind is \(layer.kind.rawValue), but model.config makes layer \(i) \(kind.rawValue)")
            }
            let sees = kind == .global ? manifest.context.tokens : manifest.window ?? manifest.context.tokens
            if layer.window != sees {
                throw PocketError(
                    "\(path).window is \(layer.window); a \(kind.rawValue) layer sees \(sees) positions here")
            }
            if manifest.context.kind == .endless, !layer.ring {
                throw PocketError(
                    "\(path).ring is false, but an endless context overwrites old positions in every layer")
            }
            try checkSlots(path, layer)
            let least = Whole.product(2, layer.slots, config.numKvHeads, config.headDim, layer.type.size)
            if layer.bytes < least {
                throw PocketError(
                    "\(path).bytes is \(layer.bytes); keys and values of \(layer.slots) slots alone take \(least)")
            }
        }
        let total = Whole.sum(cache.layers.map(\.bytes))
        if cache.bytes != total {
            throw PocketError("cache.bytes is \(cache.bytes), but the layers' bytes add up to \(total)")
        }
    }

    private func checkSlots(_ path: String, _ layer: Manifest.CacheLayer) throws {
        let chunk = manifest.chunk
        if manifest.runner.kind == .staticKv {  // the loop attends over cache and new tokens, then writes
            if layer.type != .float16 {
                throw PocketError("\(path).dtype is \(layer.type.rawValue); a static-kv loop keeps float16")
            }
            if layer.slots != layer.window {
                throw PocketError(
                    "\(path).slots is \(layer.slots); a cache of a static-kv loop has \(layer.window), its window")
            }
            if chunk > layer.slots {
                throw PocketError(
                    "chunk is \(chunk), but layer \(layer.layer) has \(layer.slots) slots: a chunk must fit a cache")
            }
        } else if !layer.ring {
            if layer.slots < manifest.context.tokens {
                throw PocketError(
                    "\(path).slots is \(layer.slots); without a ring it takes \(manifest.context.tokens), one per "
                        + "position")
            }
        } else if layer.slots < layer.window + chunk - 1 {
            throw PocketError(
                "\(path).slots is \(layer.slots); the ring needs at least \(layer.window + chunk - 1) (window "
                    + "\(layer.window) + chunk \(chunk) - 1)")
        }
    }

    private func checkFiles() throws {
        let folded = manifest.files.map { $0.path.lowercased() }  // phones' file systems may ignore case
        try Self.checkUnique("files", "path", folded.map { ($0, Shown.repr($0)) })
        if let index = folded.firstIndex(of: Manifest.fileName) {
            throw PocketError("files[\(index)].path is \(Manifest.fileName), which never lists itself")
        }
        for (i, path) in folded.enumerated() where folded.contains(where: { $0.hasPrefix(path + "/") }) {
            throw PocketError(
                "files[\(i)].path is \(Shown.repr(manifest.files[i].path)), a file, but other files lie below it")
        }
        for role in [Manifest.File.Role.program, .tokenizer] {
            let count = manifest.files.filter { $0.role == role }.count
            if count != 1 {
                throw PocketError("files has \(count) entries of role \(role.rawValue); it needs exactly one")
            }
        }
        let tokenizer = manifest.file(role: .tokenizer).path
        if tokenizer != manifest.tokenizer.file {
            throw PocketError(
                "tokenizer.file is \(Shown.repr(manifest.tokenizer.file)), but files lists \(Shown.repr(tokenizer))")
        }
    }

    private func checkMemory() throws {
        let (memory, program) = (manifest.memory, manifest.file(role: .program))
        if memory.programBytes != program.bytes {
            throw PocketError(
                "memory.program_bytes is \(memory.programBytes), but \(program.path) has \(program.bytes)")
        }
        if memory.cacheBytes != manifest.cache.bytes {
            throw PocketError(
                "memory.cache_bytes is \(memory.cacheBytes), but cache.bytes is \(manifest.cache.bytes)")
        }
        if memory.estimatedPeakBytes < memory.cacheBytes {
            throw PocketError(
                "memory.estimated_peak_bytes is \(memory.estimatedPeakBytes), less than the caches alone "
                    + "(\(memory.cacheBytes))")
        }
    }

    private func checkTokenizer() throws {
        let tokenizer = manifest.tokenizer
        if tokenizer.vocabSize > config.vocabSize {
            throw PocketError(
                "tokenizer.vocab_size is \(tokenizer.vocabSize), more than the model's \(config.vocabSize)")
        }
        let ids = tokenizer.specialTokens.map(\.id)
        try checkIds("tokenizer.bos_id", tokenizer.bosId.map { [$0] } ?? [])
        try checkIds("tokenizer.stop_ids", tokenizer.stopIds)
        try checkIds("tokenizer.special_tokens", ids)
        try Self.checkUnique("tokenizer.stop_ids", "id", tokenizer.stopIds.map { ($0, String($0)) })
        try Self.checkUnique("tokenizer.special_tokens", "id", ids.map { ($0, String($0)) })
        try Self.checkUnique(
            "tokenizer.special_tokens", "text",
            tokenizer.specialTokens.map { (Array($0.text.utf8), Shown.repr($0.text)) })
        if tokenizer.numBos > 0, tokenizer.bosId == nil {
            throw PocketError("tokenizer.num_bos is 1, but tokenizer.bos_id is null")
        }
        if tokenizer.numBos > 0, !tokenizer.bosText.isEmpty {
            throw PocketError(
                "tokenizer.bos_text is not empty, but tokenizer.num_bos is 1: the prompt would begin twice")
        }
    }

    private func checkEndOfTurn() throws {
        guard case .chat(let chat) = manifest.template else { return }
        for (i, text) in chat.endOfTurn.enumerated() {
            let place = "template.end_of_turn[\(i)] is \(Shown.short(text))"
            let token = manifest.tokenizer.specialTokens.first { $0.text.utf8.elementsEqual(text.utf8) }
            guard let token else { throw PocketError("\(place), which is not among tokenizer.special_tokens") }
            if !manifest.tokenizer.stopIds.contains(token.id) {
                throw PocketError(
                    "\(place), whose id \(token.id) is not among tokenizer.stop_ids: no runner would stop there")
            }
        }
    }

    private func checkRecipe() throws {
        var expected = config.layerMatrices.map { ($0.name, config.numLayers) } + [("embedding", 1)]
        if !config.tied { expected.append(("head", 1)) }
        let known = Set(expected.map(\.0))
        let kinds = manifest.recipe.exceptions.map { Self.layerKind($0.layer) }
        for (section, names) in [("layers", Array(manifest.recipe.layers.keys)), ("exceptions", kinds)] {
            let unknown = names.filter { !known.contains($0) }
            if let first = unknown.min(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
                throw PocketError("recipe.\(section) names \(Shown.repr(first)), which this model does not have")
            }
        }
        for (kind, count) in expected {
            let regular = manifest.recipe.layers[kind]?.count ?? 0
            let exceptions = kinds.filter { $0 == kind }.count
            if regular + exceptions != count {
                throw PocketError(
                    "recipe.layers['\(kind)'] accounts for \(regular) layers and recipe.exceptions for \(exceptions); "
                        + "the model has \(count)")
            }
        }
    }

    private func checkGolden() throws {
        let (golden, tokenizer) = (manifest.golden, manifest.tokenizer)
        try checkIds("golden.prompt_ids", golden.promptIds)
        try checkIds("golden.ids", golden.ids)
        if tokenizer.numBos > 0, let bos = tokenizer.bosId, golden.promptIds[0] != bos {
            throw PocketError(
                "golden.prompt_ids begins with \(golden.promptIds[0]); tokenizer.num_bos asks for \(bos) first")
        }
        if !Array(golden.prompt.utf8).starts(with: tokenizer.bosText.utf8) {
            throw PocketError(
                "golden.prompt does not begin with tokenizer.bos_text \(Shown.repr(tokenizer.bosText))")
        }
        if golden.ids.dropLast().contains(where: tokenizer.stopIds.contains) {
            throw PocketError("golden.ids goes on after a stop id, where every runner stops")
        }
        let count = golden.ids.count
        if count < Self.minGoldenSteps, !tokenizer.stopIds.contains(golden.ids[count - 1]) {
            throw PocketError(
                "golden.ids has \(count) steps; it needs \(Self.minGoldenSteps), or a stop id at its end")
        }
        let context = manifest.context
        if context.kind == .bounded, golden.promptIds.count + count - 1 > context.tokens {
            throw PocketError(
                "golden.ids does not fit with the prompt into the bounded context of \(context.tokens) tokens")
        }
        if golden.margins.count != count {
            throw PocketError("golden.margins has \(golden.margins.count) entries for \(count) ids")
        }
        let sure = golden.margins.firstIndex { $0 < golden.noiseFloor } ?? count
        if golden.compared != sure {
            throw PocketError(
                "golden.compared is \(golden.compared); \(sure) leading margins reach the noise floor "
                    + Shown.repr(golden.noiseFloor))
        }
    }

    /// `layers.3.attention.q_proj` is of kind `attention.q_proj`; `embedding` is its own.
    static func layerKind(_ name: String) -> String {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count > 2, parts[0] == "layers", !parts[1].isEmpty, parts[1].utf8.allSatisfy(TextRule.isDigit)
        else { return name }
        return parts[2...].joined(separator: ".")
    }

    private func checkIds(_ path: String, _ ids: [Int]) throws {
        for token in ids where token >= config.vocabSize {
            throw PocketError("\(path) holds id \(token); the vocabulary ends at \(config.vocabSize - 1)")
        }
    }

    static func checkUnique<Key: Hashable>(_ path: String, _ field: String, _ values: [(Key, String)]) throws {
        var counts: [Key: Int] = [:]
        for (key, _) in values { counts[key, default: 0] += 1 }
        for (key, shown) in values {
            if let count = counts[key], count > 1 {
                throw PocketError("\(path) has \(count) entries with \(field) \(shown); each may stand once")
            }
        }
    }

    private static func spelled(_ value: Int?) -> String { value.map(String.init) ?? "null" }
}
