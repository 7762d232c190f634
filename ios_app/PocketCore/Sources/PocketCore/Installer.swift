// Puts a package on the device: checks it against its manifest, copies what is missing, and moves it into its place.
import Foundation

/// Where an install stands; `done` and `total` are bytes.
public enum InstallState: Equatable, Sendable {
    case checkingSpace
    case unpacking(done: Int64, total: Int64)
    case verifying(done: Int64, total: Int64)
    case moving
    case installed(InstalledPackage)
    case refused(Refusal)
}

/// Where a package comes from.
public enum PackageSource: Equatable, Sendable {
    /// A zip on disk; it stays where it is.
    case zip(URL)
    /// A package's folder, put there over the cable. Movable files are moved instead of copied, which saves the space
    /// of a second copy.
    case folder(URL, isMovable: Bool)
}

/// The folder that packages live in, and what can be asked of the device about it.
public protocol PackageStore: Sendable {
    /// Holds a folder for each package, named by `PackageId.short`, and hidden folders of unfinished work.
    var folder: URL { get }
    /// Bytes that may still be written there.
    func freeBytes() -> Int64
}
