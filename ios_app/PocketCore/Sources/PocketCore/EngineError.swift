// What the runtime's error codes mean, as a sentence with a next step.

public enum EngineError {
    /// ExecuTorch 1.5.1, runtime/core/error.h.
    static let keys: [Int: SentenceKey] = [
        0x01: .engineInternal, 0x02: .engineInvalidState, 0x03: .engineEndOfMethod, 0x04: .engineAlreadyLoaded,
        0x10: .engineNotSupported, 0x11: .engineNotImplemented, 0x12: .engineInvalidArgument,
        0x13: .engineInvalidType, 0x14: .engineOperatorMissing, 0x15: .engineTooManyKernels,
        0x16: .engineKernelTwice, 0x20: .engineNotFound, 0x21: .engineMemory, 0x22: .engineAccess,
        0x23: .engineInvalidProgram, 0x24: .engineExternalData, 0x25: .engineResources,
        0x30: .engineDelegateVersion, 0x31: .engineDelegateMemory, 0x32: .engineDelegateHandle,
    ]

    /// The sentence of a code, or of the runtime's own words where it gave none.
    public static func refusal(_ failure: RunnerFailure) -> Refusal {
        if let code = failure.code, code != 0 {
            return Refusal(keys[code] ?? .engineUnknown, ["code": String(code)])
        }
        return Refusal(.engineFailed, ["reason": Refusal.reason(failure.detail)])
    }
}
