/// The part of ExecuTorch's Swift API for tensors and values that the app uses, with a body that works on Linux.
///
/// Own code: only names and types come from the sources named beside each declaration,
/// read at commit cff6f4dd32e630945b7188512c1f2b4f102b05ad.

import Foundation

/// Element types; the raw values are ExecuTorch's ScalarType.
/// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchTensor.h (ExecuTorchDataType)
public enum DataType: Int8, Sendable {
    case byte = 0
    case char, short, int, long, half, float, double
    case bool = 11
    case undefined = 30
}

/// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchTensor.h (ExecuTorchShapeDynamism)
public enum ShapeDynamism: UInt8, Sendable {
    case `static`, dynamicBound, dynamicUnbound
}

/// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchTensor.h (ExecuTorchSizeOfDataType)
public func size(ofDataType dataType: DataType) -> Int {
    switch dataType {
    case .byte, .char, .bool: return 1
    case .short, .half: return 2
    case .int, .float: return 4
    case .long, .double: return 8
    case .undefined: return 0
    }
}

/// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchTensor.h (ExecuTorchTensor)
public final class AnyTensor {
    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchTensor.h (dataType)
    public let dataType: DataType
    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorch+Tensor.swift (shape)
    public let shape: [Int]
    private let storage: Storage

    private enum Storage {
        case owned(Data)
        case borrowed(UnsafeMutableRawPointer)
    }

    /// Borrows: the memory must outlive the tensor.
    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorch+Tensor.swift (init(bytesNoCopy:…))
    public init(
        bytesNoCopy pointer: UnsafeMutableRawPointer,
        shape: [Int],
        strides: [Int] = [],
        dimensionOrder: [Int] = [],
        dataType: DataType,
        shapeDynamism: ShapeDynamism = .dynamicBound
    ) {
        self.dataType = dataType
        self.shape = shape
        storage = .borrowed(pointer)
    }

    /// Copies.
    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorch+Tensor.swift (init(bytes:…))
    public init(
        bytes pointer: UnsafeRawPointer,
        shape: [Int],
        strides: [Int] = [],
        dimensionOrder: [Int] = [],
        dataType: DataType,
        shapeDynamism: ShapeDynamism = .dynamicBound
    ) {
        self.dataType = dataType
        self.shape = shape
        storage = .owned(Data(bytes: pointer, count: shape.reduce(1, *) * size(ofDataType: dataType)))
    }

    /// Keeps a reference to the data.
    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorch+Tensor.swift (init(data:…))
    public init(
        data: Data,
        shape: [Int],
        strides: [Int] = [],
        dimensionOrder: [Int] = [],
        dataType: DataType,
        shapeDynamism: ShapeDynamism = .dynamicBound
    ) {
        self.dataType = dataType
        self.shape = shape
        storage = .owned(data)
    }

    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorch+Tensor.swift (count)
    public var count: Int { shape.reduce(1, *) }

    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchTensor.h (bytesWithHandler:)
    public func bytes(_ handler: (UnsafeRawPointer, Int, DataType) -> Void) {
        switch storage {
        case .owned(let data):
            data.withUnsafeBytes { handler($0.baseAddress ?? UnsafeRawPointer(bitPattern: 1)!, count, dataType) }
        case .borrowed(let pointer): handler(UnsafeRawPointer(pointer), count, dataType)
        }
    }
}

/// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchValue.h (ExecuTorchValue)
public final class Value {
    private let tensor: AnyTensor?
    private let number: Int?

    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchValue.h (valueWithTensor:)
    public init(_ tensor: AnyTensor) {
        self.tensor = tensor
        number = nil
    }

    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchValue.h (valueWithInteger:)
    public init(_ integer: Int) {
        tensor = nil
        number = integer
    }

    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorch+Value.swift (anyTensor)
    public var anyTensor: AnyTensor? { tensor }
    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchValue.h (isInteger)
    public var isInteger: Bool { number != nil }
    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchValue.h (intValue)
    public var integer: Int { number ?? 0 }
}

/// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorch+Value.swift (ValueConvertible)
public protocol ValueConvertible {
    func asValue() -> Value
}

/// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorch+Value.swift (ValueSequenceConstructible)
public protocol ValueSequenceConstructible {
    static func from(_ values: [Value]) throws -> Self
}

extension Array: ValueSequenceConstructible where Element == Value {
    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorch+Value.swift (Array.from)
    public static func from(_ values: [Value]) throws -> [Value] { values }
}

extension Value: ValueConvertible {
    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorch+Value.swift (Value.asValue)
    public func asValue() -> Value { self }
}

extension AnyTensor: ValueConvertible {
    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorch+Value.swift (AnyTensor.asValue)
    public func asValue() -> Value { Value(self) }
}
