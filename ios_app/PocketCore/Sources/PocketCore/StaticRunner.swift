// Drives a static-kv program (CoreML): caches are kept here and written after each call. The loop of docs/static-kv.md.
//
// Shapes: T tokens of a call, S slots, G key-value heads, D head width, V vocabulary.
import Foundation

extension StaticKv {
    /// What the loop must know, from the manifest.
    ///
    /// - Throws: `PocketError`: the package is not for a static-kv runner.
    public init(_ manifest: Manifest) throws {
        guard manifest.runner.kind == .staticKv else {
            throw PocketError(
                "this package needs a '\(manifest.runner.kind.rawValue)' runner; the loop drives 'static-kv' packages")
        }
        let config = manifest.model.config
        let scaling = config.ropeScaling
        let hasTemperature = config.temperatureFloor != 0 && !config.noRopeLayers.isEmpty
        try self.init(
            context: manifest.context, vocabSize: config.vocabSize, chunk: manifest.chunk,
            hasPrefill: manifest.method("prefill") != nil, slots: manifest.cache.layers.map(\.slots),
            isGlobal: manifest.cache.layers.map { $0.kind == .global }, numKvHeads: config.numKvHeads,
            rope: Rope(
                theta: config.ropeTheta, headDim: config.headDim, factor: scaling?.factor ?? 0,
                lowFreqFactor: scaling?.lowFreqFactor ?? 0, highFreqFactor: scaling?.highFreqFactor ?? 0,
                originalContext: scaling?.originalContext ?? 0),
            temperatureFloor: hasTemperature ? config.temperatureFloor : 0,
            temperatureScale: hasTemperature ? config.temperatureScale : 0)
    }
}

public final class StaticRunner: IdRunner {
    private let module: any ModuleLike
    private let methods: [Manifest.NamedMethod]
    private let program: StaticKv
    private let frequencies: [Double]
    private var caches: [String: TensorBuffer] = [:]

    public var context: Context { program.context }

    /// - Parameter module: runs `forward`, and `prefill` where there is one, as the manifest lists their tensors.
    /// - Throws: `PocketError`: the manifest is not of a static-kv package.
    public init(module: any ModuleLike, manifest: Manifest) throws {
        self.module = module
        methods = manifest.methods
        program = try StaticKv(manifest)
        frequencies = StaticInputs.inverseFrequencies(program.rope)
    }

    /// Allocates the caches filled with zeros, for what a mask hides is still multiplied.
    public func load() throws {
        try module.load(methods: methods.map(\.name))
        for (layer, slots) in program.slots.enumerated() {
            for side in ["k", "v"] {
                caches["\(side)_cache_\(layer)"] = TensorBuffer(
                    .float16, [1, program.numKvHeads, slots, program.rope.headDim])
            }
        }
    }

    public func close() {
        module.close()
        caches = [:]
    }

    /// Nothing to clear: at position 0 no query sees a slot. The caller goes on there.
    public func reset() {}

    public func logits(_ ids: [Int], position: Int, isStopped: () -> Bool) throws -> [Double]? {
        var logits: [Double] = []
        let calls = try program.calls(ids, position: position)
        for (index, call) in calls.enumerated() {
            if isStopped() { return nil }
            logits = try run(call, needsLogits: index == calls.count - 1)
        }
        return logits
    }

    /// One call, and the new tokens' keys and values into their slots; then its logits [V], where they are needed.
    private func run(_ call: StaticCall, needsLogits: Bool) throws -> [Double] {
        guard let specs = methods.first(where: { $0.name == call.method })?.method else {
            throw PocketError("the package has no method \(call.method); export it again")
        }
        let rope = StaticInputs.ropeRows(position: call.position, length: call.length, frequencies: frequencies)
        let inputs = try specs.inputs.map { spec in
            switch spec.name {
            case "cos": return try half(spec, rope.cos)
            case "sin": return try half(spec, rope.sin)
            default: return try caches[spec.name] ?? rows(spec, call)
            }
        }
        let given = try module.execute(call.method, inputs)
        try Self.check(call.method, specs.outputs, given)
        let outputs = Dictionary(uniqueKeysWithValues: zip(specs.outputs.map(\.name), given))
        for (layer, slots) in program.slots.enumerated() {
            let written = try call.slots(slots)
            for side in ["k", "v"] {
                guard let new = outputs["\(side)_new_\(layer)"], let cache = caches["\(side)_cache_\(layer)"] else {
                    throw PocketError("the package has no output \(side)_new_\(layer); export it again")
                }
                copy(new, to: cache, length: call.length, slots: slots, written: written)
            }
        }
        if !needsLogits { return [] }
        return zip(specs.outputs, given).filter { $0.0.name.hasPrefix("logits") }.flatMap { $0.1.doubles() }
    }

    /// Row i of each head [T, D] to slot written[i] of that head [S, D].
    private func copy(_ new: TensorBuffer, to cache: TensorBuffer, length: Int, slots: Int, written: [Int]) {
        let row = program.rope.headDim * Manifest.TensorType.float16.size
        for head in 0..<program.numKvHeads {
            for (i, slot) in written.enumerated() {
                let (from, to) = ((head * length + i) * row, (head * slots + slot) * row)
                UnsafeMutableRawBufferPointer(rebasing: cache.bytes[to..<to + row])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: new.bytes[from..<from + row]))
            }
        }
    }

    private func half(_ spec: Manifest.TensorSpec, _ rows: [[Double]]) throws -> TensorBuffer {
        let buffer = TensorBuffer(spec.type, spec.shape)
        try buffer.fillHalf(rows.flatMap { $0 })
        return buffer
    }

    /// An input that is neither a cache nor a row of RoPE, by its name.
    private func rows(_ spec: Manifest.TensorSpec, _ call: StaticCall) throws -> TensorBuffer {
        let buffer = TensorBuffer(spec.type, spec.shape)
        let (at, length) = (call.position, call.length)
        switch spec.name {
        case "tokens": buffer.fill(call.tokens)
        case "last": try buffer.fillHalf(call.last)
        case "temperature":
            try buffer.fillHalf(
                StaticInputs.temperatures(
                    position: at, length: length, floor: program.temperatureFloor, scale: program.temperatureScale))
        case "mask_local", "mask_global":
            let slots = program.kindSlots(isGlobal: spec.name == "mask_global") ?? 0
            let mask = try StaticInputs.mask(position: at, length: length, slots: slots)
            let (seen, masked) = (try HalfFloat.bits(StaticInputs.seen), try HalfFloat.bits(StaticInputs.masked))
            let bits = buffer.bytes.bindMemory(to: UInt16.self)
            for (i, isSeen) in mask.joined().enumerated() { bits[i] = isSeen ? seen : masked }
        default: throw PocketError("the program asks for \(spec.name), which this app does not know; update it")
        }
        return buffer
    }

    /// - Throws: `PocketError`: another number of tensors, or another shape, than the manifest says.
    static func check(_ method: String, _ specs: [Manifest.TensorSpec], _ given: [TensorBuffer]) throws {
        if given.count != specs.count {
            throw PocketError("\(method) gave \(given.count) tensors; the manifest lists \(specs.count)")
        }
        for (spec, tensor) in zip(specs, given) where tensor.shape != spec.shape || tensor.type != spec.type {
            throw PocketError(
                "\(method) gave \(spec.name) of \(tensor.type.rawValue) \(Shown.list(tensor.shape)), not of "
                    + "\(spec.type.rawValue) \(Shown.list(spec.shape))")
        }
    }
}
