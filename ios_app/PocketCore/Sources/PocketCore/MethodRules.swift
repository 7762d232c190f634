// Which methods a runner can drive, tensor by tensor.

struct MethodRules {
    let manifest: Manifest

    func check() throws {
        guard let forward = manifest.method("forward") else { throw PocketError("methods has no 'forward'") }
        let isText = manifest.runner.kind == .textLlm
        for named in manifest.methods {
            for (side, tensors) in [("inputs", named.method.inputs), ("outputs", named.method.outputs)] {
                let path = "methods.\(named.name).\(side)"
                try ManifestRules.checkUnique(
                    path, "name", tensors.map { (Array($0.name.utf8), Shown.repr($0.name)) })
                for (i, tensor) in tensors.enumerated() {
                    try checkDynamic("\(path)[\(i)].dynamic", tensor, isAllowed: isText)
                }
            }
        }
        if isText { try checkText(forward) } else { try checkStatic() }
    }

    private func checkDynamic(_ path: String, _ tensor: Manifest.TensorSpec, isAllowed: Bool) throws {
        if !tensor.dynamic.isEmpty, !isAllowed {
            throw PocketError("\(path) is not empty, but a static-kv runner takes fixed shapes only")
        }
        let isIncreasing = zip(tensor.dynamic, tensor.dynamic.dropFirst()).allSatisfy { $0 < $1 }
        if !isIncreasing || tensor.dynamic.contains(where: { $0 >= tensor.shape.count }) {
            throw PocketError(
                "\(path) is \(Shown.list(tensor.dynamic)); it must be increasing indices into the "
                    + "\(tensor.shape.count) dimensions")
        }
    }

    /// The runtime's text runner calls one method, by position of the arguments.
    private func checkText(_ forward: Manifest.Method) throws {
        try refuseOthers(["forward"], "is unknown to a text-llm runner; it calls forward only")
        let (chunk, vocabulary) = (manifest.chunk, manifest.model.config.vocabSize)
        let inputs: [Wanted] = [
            Wanted("tokens", [1, chunk], [.int64]), Wanted("position", [1], [.int64]),
        ]
        let outputs = [Wanted("logits", [1, vocabulary], [.float32, .float16])]
        for (side, tensors, wanted) in [("inputs", forward.inputs, inputs), ("outputs", forward.outputs, outputs)] {
            if tensors.count != wanted.count {
                let names = wanted.map(\.name).joined(separator: ", ")
                throw PocketError(
                    "methods.forward.\(side) has \(tensors.count) tensors; a text-llm runner needs \(names)")
            }
            for (i, tensor) in tensors.enumerated() { try checkText(side, i, tensor, wanted[i]) }
        }
    }

    private struct Wanted {
        let name: String
        let shape: [Int]
        let types: [Manifest.TensorType]

        init(_ name: String, _ shape: [Int], _ types: [Manifest.TensorType]) {
            (self.name, self.shape, self.types) = (name, shape, types)
        }
    }

    private func checkText(_ side: String, _ index: Int, _ tensor: Manifest.TensorSpec, _ wanted: Wanted) throws {
        let path = "methods.forward.\(side)[\(index)]"
        if tensor.name != wanted.name {
            throw PocketError(
                "\(path).name is \(Shown.repr(tensor.name)); a text-llm runner needs \(Shown.repr(wanted.name)) here")
        }
        if tensor.shape != wanted.shape {
            throw PocketError(
                "\(path).shape is \(Shown.list(tensor.shape)); chunk \(manifest.chunk) and vocabulary "
                    + "\(manifest.model.config.vocabSize) make it \(Shown.list(wanted.shape))")
        }
        if !wanted.types.contains(tensor.type) {
            let types = wanted.types.map(\.rawValue).joined(separator: " or ")
            throw PocketError("\(path).dtype is \(tensor.type.rawValue); a text-llm runner needs \(types)")
        }
        let dynamic = wanted.name == "tokens" && manifest.chunk > 1 ? [1] : []
        if tensor.dynamic != dynamic {
            throw PocketError(
                "\(path).dynamic is \(Shown.list(tensor.dynamic)); it must be \(Shown.list(dynamic))")
        }
    }

    /// The loop fills every tensor by its name, in calling order, so each must be the one that the layout makes.
    private func checkStatic() throws {
        try refuseOthers(["forward", "prefill"], "is unknown to a static-kv runner; allowed: forward, prefill")
        let config = manifest.model.config
        let lengths = StaticLayout.lengths(chunk: manifest.chunk, hasPrefill: manifest.method("prefill") != nil)
        for named in manifest.methods {
            guard let length = lengths[named.name] else {
                throw PocketError(
                    "methods.\(named.name) is there, but with a chunk of \(manifest.chunk) forward takes every prompt")
            }
            let path = "methods.\(named.name)"
            try compare(
                "\(path).inputs", named.method.inputs,
                StaticLayout.inputs(config, manifest.cache.layers, length: length))
            let pieces = (config.vocabSize - 1) / StaticLayout.maxRows + 1
            if pieces > named.method.outputs.count {  // before they are spelled out: a hostile size makes many
                let count = Whole.sum([pieces, 2 * manifest.cache.layers.count])
                throw wrongCount("\(path).outputs", named.method.outputs.count, count)
            }
            try compare(
                "\(path).outputs", named.method.outputs,
                StaticLayout.outputs(config, manifest.cache.layers, length: length))
        }
    }

    private func compare(_ path: String, _ found: [Manifest.TensorSpec], _ wanted: [Manifest.TensorSpec]) throws {
        for (i, (tensor, spec)) in zip(found, wanted).enumerated() {
            let fields = [
                ("name", Shown.repr(tensor.name), Shown.repr(spec.name)),
                ("dtype", Shown.repr(tensor.type.rawValue), Shown.repr(spec.type.rawValue)),
                ("shape", Shown.list(tensor.shape), Shown.list(spec.shape)),
            ]
            for (field, value, right) in fields where value != right {
                throw PocketError("\(path)[\(i)].\(field) is \(value); model, caches and chunk make it \(right)")
            }
        }
        if found.count != wanted.count { throw wrongCount(path, found.count, wanted.count) }
    }

    private func wrongCount(_ path: String, _ found: Int, _ wanted: Int) -> PocketError {
        PocketError("\(path) has \(found) tensors; model, caches and chunk make it \(wanted)")
    }

    private func refuseOthers(_ known: [String], _ message: String) throws {
        let others = manifest.methods.map(\.name).filter { !known.contains($0) }
        if let first = others.min(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            throw PocketError("methods.\(first) \(message)")
        }
    }
}
