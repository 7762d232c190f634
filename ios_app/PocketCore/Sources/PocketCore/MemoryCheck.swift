// Whether a package fits the device, before anything is loaded.

/// What the manifest's estimate means on this device.
public enum MemoryVerdict: Equatable, Sendable {
    case fits
    /// The system may end the app.
    case tight(String)
    case tooLarge(String)
}

public enum MemoryCheck {
    /// - Parameters, in bytes:
    ///   - available: what may be taken now.
    ///   - most: what the device ever gives an app.
    public static func verdict(_ manifest: Manifest, available: Int64, most: Int64) -> MemoryVerdict {
        verdict(needed: Int64(manifest.memory.estimatedPeakBytes), available: available, most: most)
    }

    static func verdict(needed: Int64, available: Int64, most: Int64) -> MemoryVerdict {
        if needed > most {
            return .tooLarge(
                Sentences.text(
                    .memoryTooLarge, ["needed": Sentences.size(needed), "most": Sentences.size(most)]))
        }
        if needed > available - available / 8 {
            return .tight(
                Sentences.text(
                    .memoryTight, ["needed": Sentences.size(needed), "available": Sentences.size(available)]))
        }
        return .fits
    }
}
