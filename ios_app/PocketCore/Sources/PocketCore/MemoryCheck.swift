// Whether a package fits the device, before anything is loaded.

/// What the manifest's estimate means on this device.
public enum MemoryVerdict: Equatable, Sendable {
    case fits
    /// It may be ended by the system; the sentence says by how much it is near.
    case tight(String)
    case tooLarge(String)
}
