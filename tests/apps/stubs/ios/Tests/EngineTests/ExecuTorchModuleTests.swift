// The app's adapter of `Module`, over a stub program: what goes in, what comes out, and errors.
import ExecuTorch
import Foundation
import PocketCore
import XCTest

@testable import PocketLM

/// Adds 1 to the first input's int64 values, gives them as float32, and as float16 the bits of the second input.
private final class AddsOne: StubProgram {
    nonisolated(unsafe) static var loaded: [String] = []
    var output = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 8)

    func load(_ method: String) throws {
        if method == "missing" { throw stubError(code: 32) }
        Self.loaded.append(method)
    }

    func execute(_ method: String, _ inputs: [Value]) throws -> [Value] {
        guard inputs.count == 2, let ids = inputs[0].anyTensor, let bits = inputs[1].anyTensor else {
            throw stubError(code: 18)
        }
        ids.bytes { pointer, count, _ in
            for index in 0..<count {
                let id = pointer.load(fromByteOffset: 8 * index, as: Int64.self)
                output.storeBytes(of: Float(id + 1), toByteOffset: 4 * index, as: Float.self)
            }
        }
        // As the runtime does: the output's memory belongs to the method and is written over by the next call.
        let first = AnyTensor(bytesNoCopy: output.baseAddress!, shape: ids.shape, dataType: .float)
        var copy = Data()
        bits.bytes { pointer, count, type in copy = Data(bytes: pointer, count: count * size(ofDataType: type)) }
        return [Value(first), Value(AnyTensor(data: copy, shape: bits.shape, dataType: .half))]
    }
}

final class ExecuTorchModuleTests: XCTestCase {
    private let steps = Steps()

    override func setUp() {
        AddsOne.loaded = []
        StubPrograms.open = { path in
            if path == "/nowhere" { throw stubError(code: 34) }
            return AddsOne()
        }
    }

    override func tearDown() {
        StubPrograms.open = nil
    }

    private func module(_ path: String = "/model.pte") -> ExecuTorchModule {
        ExecuTorchModule(path: path, onStep: steps.add)
    }

    private func inputs(_ ids: [Int64], _ bits: [UInt16]) -> [TensorBuffer] {
        let first = TensorBuffer(.int64, [1, ids.count])
        for (index, id) in ids.enumerated() { first.bytes.storeBytes(of: id, toByteOffset: 8 * index, as: Int64.self) }
        let second = TensorBuffer(.float16, [bits.count])
        for (index, value) in bits.enumerated() {
            second.bytes.storeBytes(of: value, toByteOffset: 2 * index, as: UInt16.self)
        }
        return [first, second]
    }

    func testMethodsAreLoadedInTurnAndCounted() throws {
        try module().load(methods: ["forward", "prefill"])
        XCTAssertEqual(AddsOne.loaded, ["forward", "prefill"])
        XCTAssertEqual(steps.all, [.begins(number: 1, count: 2), .begins(number: 2, count: 2), .done])
    }

    func testOutputsAreCopies() throws {
        let module = module()
        try module.load(methods: ["forward"])
        let first = try module.execute("forward", inputs([1, 2], [0x3C00]))
        _ = try module.execute("forward", inputs([10, 20], [0x3C00]))
        XCTAssertEqual(first[0].type, .float32)
        XCTAssertEqual(first[0].shape, [1, 2])
        XCTAssertEqual(Array(first[0].bytes.bindMemory(to: Float.self)), [2, 3])
    }

    func testHalvesPassBitForBit() throws {
        let module = module()
        try module.load(methods: ["forward"])
        let outputs = try module.execute("forward", inputs([0], [0x0001, 0x7BFF, 0xF0E2]))
        XCTAssertEqual(outputs[1].type, .float16)
        XCTAssertEqual(Array(outputs[1].bytes.bindMemory(to: UInt16.self)), [0x0001, 0x7BFF, 0xF0E2])
    }

    func testErrorsKeepTheirCode() throws {
        XCTAssertThrowsError(try module("/nowhere").load(methods: ["forward"])) {
            XCTAssertEqual(($0 as? RunnerFailure)?.code, 34)
            XCTAssertEqual(Refusal($0).key, .engineAccess)
        }
        XCTAssertThrowsError(try module().load(methods: ["missing"])) {
            XCTAssertEqual(Refusal($0).key, .engineNotFound)
        }
        let loaded = module()
        try loaded.load(methods: ["forward"])
        XCTAssertThrowsError(try loaded.execute("forward", [])) {
            XCTAssertEqual(Refusal($0).key, .engineInvalidArgument)
        }
        XCTAssertFalse(steps.all.contains(.done) && steps.all.count == 1)
    }

    func testNothingRunsBeforeItIsLoadedOrAfterItIsClosed() throws {
        let module = module()
        XCTAssertThrowsError(try module.execute("forward", inputs([1], [0]))) {
            XCTAssertEqual(Refusal($0).key, .engineInvalidState)
        }
        try module.load(methods: ["forward"])
        module.close()
        module.close()
        XCTAssertThrowsError(try module.execute("forward", inputs([1], [0])))
    }
}

/// Steps that were reported, from any thread.
final class Steps: @unchecked Sendable {
    private let lock = NSLock()
    private var steps: [ExecuTorchModule.LoadStep] = []

    var all: [ExecuTorchModule.LoadStep] { lock.withLock { steps } }

    @Sendable func add(_ step: ExecuTorchModule.LoadStep) {
        lock.withLock { steps.append(step) }
    }
}
