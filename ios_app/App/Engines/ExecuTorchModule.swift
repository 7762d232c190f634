// ExecuTorch's `Module` as the core's `ModuleLike`: loads methods, hands tensors over without copies, and gives errors
// as numbers that the core has sentences for.
import ExecuTorch
import Foundation
import PocketCore

final class ExecuTorchModule: ModuleLike {
    enum LoadStep: Equatable, Sendable {
        /// A method is about to be made ready, which takes minutes where Core ML compiles it.
        case begins(number: Int, count: Int)
        /// All are ready.
        case done
    }

    private let path: String
    private let onStep: @Sendable (LoadStep) -> Void
    private var module: Module?

    init(path: String, onStep: @escaping @Sendable (LoadStep) -> Void) {
        self.path = path
        self.onStep = onStep
    }

    func load(methods: [String]) throws {
        let module = Module(filePath: path, loadMode: .mmap)
        for (index, method) in methods.enumerated() {
            onStep(.begins(number: index + 1, count: methods.count))
            try translated { try module.load(method) }
        }
        self.module = module
        onStep(.done)
    }

    func execute(_ method: String, _ inputs: [TensorBuffer]) throws -> [TensorBuffer] {
        guard let module else { throw RunnerFailure(code: 2, detail: "\(method) was run before it was loaded") }
        let values: [ValueConvertible] = try inputs.map { input in
            AnyTensor(bytesNoCopy: try address(of: input), shape: input.shape, dataType: dataType(input.type))
        }
        let outputs: [Value] = try withExtendedLifetime(inputs) {
            try translated { try module.execute(method, values) }
        }
        return try outputs.map(buffer)
    }

    func close() {
        module = nil
    }
}

/// Runs one call of ExecuTorch; its errors are `NSError`s whose code is that of the C++ runtime.
func translated<Result>(_ body: () throws -> Result) throws -> Result {
    do {
        return try body()
    } catch {
        throw RunnerFailure(code: runtimeCode(error), detail: error.localizedDescription)
    }
}

/// The runtime's error code; nil for an error of ExecuTorch's Objective-C layer, which says -1.
func runtimeCode(_ error: any Error) -> Int? {
    let code = error._code
    return code >= 0 ? code : nil
}

private func address(of buffer: TensorBuffer) throws -> UnsafeMutableRawPointer {
    guard let address = buffer.bytes.baseAddress else { throw RunnerFailure(code: 18, detail: "an empty tensor") }
    return address
}

/// Copies an output, for the next call of the method writes over its memory.
private func buffer(_ value: Value) throws -> TensorBuffer {
    guard let tensor = value.anyTensor else { throw RunnerFailure(code: 19, detail: "an output is no tensor") }
    let type = try tensorType(tensor.dataType)
    let buffer = TensorBuffer(type, tensor.shape)
    tensor.bytes { pointer, count, _ in
        buffer.bytes.copyMemory(from: UnsafeRawBufferPointer(start: pointer, count: count * type.size))
    }
    return buffer
}

private func dataType(_ type: Manifest.TensorType) -> DataType {
    switch type {
    case .float16: .half
    case .float32: .float
    case .int32: .int
    case .int64: .long
    case .int8: .char
    }
}

private func tensorType(_ type: DataType) throws -> Manifest.TensorType {
    switch type {
    case .half: .float16
    case .float: .float32
    case .int: .int32
    case .long: .int64
    case .char: .int8
    default: throw RunnerFailure(code: 19, detail: "an output has elements of type \(type.rawValue)")
    }
}
