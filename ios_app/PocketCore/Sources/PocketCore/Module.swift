// A loaded program as the core sees it: methods that take and give tensors, by place. ExecuTorch's `Module` does so.
import Foundation

/// Values in memory with their type and shape. Not for several threads.
public final class TensorBuffer {
    public let type: Manifest.TensorType
    public let shape: [Int]
    /// The values one after another, in the machine's byte order; they live as long as the buffer.
    public let bytes: UnsafeMutableRawBufferPointer

    /// Filled with zeros.
    public init(_ type: Manifest.TensorType, _ shape: [Int]) {
        self.type = type
        self.shape = shape
        let count = shape.reduce(type.size, *)
        bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit { bytes.deallocate() }

    public var count: Int { shape.reduce(1, *) }

    func fill(_ values: [Int]) {
        for (i, value) in values.enumerated() {
            switch type {
            case .int64: bytes.storeBytes(of: Int64(value), toByteOffset: 8 * i, as: Int64.self)
            default: bytes.storeBytes(of: Int32(value), toByteOffset: 4 * i, as: Int32.self)
            }
        }
    }

    /// Doubles as float16, each rounded once.
    func fillHalf(_ values: [Double]) throws {
        for (i, value) in values.enumerated() {
            bytes.storeBytes(of: try HalfFloat.bits(value), toByteOffset: 2 * i, as: UInt16.self)
        }
    }

    /// The values of a float16 or float32 tensor.
    func doubles() -> [Double] {
        switch type {
        case .float16: return bytes.bindMemory(to: UInt16.self).map(HalfFloat.double)
        default: return bytes.bindMemory(to: Float.self).map(Double.init)
        }
    }
}

/// Runs a program's methods. One thread owns it. Failures of the runtime are `RunnerFailure`s.
public protocol ModuleLike: AnyObject {
    /// Makes these methods ready; the first load of a CoreML program compiles it, which may take minutes.
    func load(methods: [String]) throws
    /// The outputs of a method in calling order. The inputs may change after the call has returned.
    func execute(_ method: String, _ inputs: [TensorBuffer]) throws -> [TensorBuffer]
    /// Frees what `load` took. May be called twice, and before `load`.
    func close()
}

/// What the runtime said: its error code where it gives one (runtime/core/error.h), and its own words.
public struct RunnerFailure: Error, Equatable, Sendable {
    public let code: Int?
    public let detail: String

    public init(code: Int?, detail: String) {
        self.code = code
        self.detail = detail
    }
}

/// The phones' own text runner: ExecuTorch's TextLLMRunner behind iOS's TextRunner. One thread owns it; only `stop` may
/// be called from another. Failures are `RunnerFailure`s.
public protocol TextRunner: AnyObject {
    func load() throws
    /// Writes a text to the cache; with `first` after the ids of BOS that the package asks for.
    func prefill(_ text: String, first: Bool) throws
    /// Writes a text, which is shorter than the context, and hands over new tokens' bytes one after the other. An empty
    /// text goes on from what was prefilled.
    ///
    /// - Returns: the runner's report (JSON), or nil where it gives none.
    func generate(
        _ text: String, first: Bool, maxNewTokens: Int, temperature: Double, onPiece: ([UInt8]) -> Void
    ) throws -> String?
    /// Lost while a prompt is read and from the callback of a call's first token.
    func stop()
    /// Position 0.
    func reset() throws
    func close()
}
