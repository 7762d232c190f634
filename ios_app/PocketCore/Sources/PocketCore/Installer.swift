// Puts a package on the device: checks it against its manifest, copies what is missing, and moves it into its place.
//
// Nothing is ever at a package's own place but a whole, verified package. What a stopped installation has staged is
// kept and gone on with; everything else that fails leaves nothing behind.
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

/// What this app can run.
public struct Platform: Equatable, Sendable {
    public let runnerKinds: Set<String>
    public let hasCoreMl: Bool
    /// ExecuTorch's release in this app, like 1.5.1.
    public let runtime: String

    public init(runnerKinds: Set<String>, hasCoreMl: Bool, runtime: String) {
        self.runnerKinds = runnerKinds
        self.hasCoreMl = hasCoreMl
        self.runtime = runtime
    }

    func check(_ manifest: Manifest) throws {
        if manifest.target.hasPrefix("coreml-"), !hasCoreMl {
            throw PocketError(Refusal(.needsCoreMl, ["target": manifest.target]))
        }
        if !runnerKinds.contains(manifest.runner.kind.rawValue) {
            throw PocketError(Refusal(.otherRunner, ["kind": manifest.runner.kind.rawValue]))
        }
        let (needed, present) = (Self.numbers(manifest.runner.minRuntime), Self.numbers(runtime))
        if present.lexicographicallyPrecedes(needed) {
            throw PocketError(
                Refusal(.newerRuntime, ["needed": manifest.runner.minRuntime, "present": runtime]))
        }
    }

    /// Three numbers; a release may leave out the last.
    private static func numbers(_ release: String) -> [Int] {
        let parts = release.split(separator: ".").map { Int($0) ?? 0 }
        return Array((parts + [0, 0, 0]).prefix(3))
    }
}

public final class Installer: Sendable {
    private let store: any PackageStore
    private let platform: Platform

    public init(store: any PackageStore, platform: Platform) {
        self.store = store
        self.platform = platform
    }

    /// Installs a package. Takes as long as its bytes; call it off the main thread.
    ///
    /// - Parameters:
    ///   - isCancelled: asked between blocks of bytes.
    ///   - onState: told each state, also the last.
    /// - Returns: the last state: installed or refused.
    public func install(
        _ source: PackageSource, isCancelled: () -> Bool = { false }, onState: (InstallState) -> Void
    ) -> InstallState {
        onState(.checkingSpace)
        let last: InstallState
        do {
            last = .installed(try run(source, isCancelled, onState))
        } catch {
            last = .refused(Refusal(error))
        }
        onState(last)
        return last
    }

    /// Removes what killed installations have left, unless it can be gone on with.
    public func cleanUp() { PackageLibrary(store: store).cleanUp() }

    private func run(
        _ source: PackageSource, _ isCancelled: () -> Bool, _ onState: (InstallState) -> Void
    ) throws -> InstalledPackage {
        let opened = try source.open()
        let content = try opened.manifest()
        let manifest = try Self.read(content)
        try opened.checkSizes(manifest)
        try platform.check(manifest)
        let id = PackageId(Sha256.hex(content))
        let place = store.folder.appendingPathComponent(id.short, isDirectory: true)
        let result = InstalledPackage(id: id, folder: place, manifest: manifest)
        if PackageLibrary.isWhole(result, content: content) { return result }
        let staging = Staging(
            folder: store.folder.appendingPathComponent(Staging.prefix + id.short), manifest: manifest,
            content: content)
        try opened.checkExpansion(manifest)
        try staging.checkSpace(free: store.freeBytes(), isMoving: opened.isMoving)
        do {
            try staging.fill(from: opened, isCancelled, onState)
            try staging.verify(isCancelled, onState)
        } catch {
            if !Self.isResumable(error) { try? FileManager.default.removeItem(at: staging.folder) }
            throw error
        }
        onState(.moving)
        try? FileManager.default.removeItem(at: place)
        try Files.rename(staging.folder, to: place)
        opened.finish()
        return result
    }

    /// After these the staged files stay, so that the next attempt goes on.
    private static func isResumable(_ error: any Error) -> Bool {
        guard let error = error as? PocketError else { return true }
        return [.installStopped, .storageFailed, .sourceUnreadable].contains(error.key)
    }

    private static func read(_ content: [UInt8]) throws -> Manifest {
        do {
            return try Manifest.read(content)
        } catch let error as PocketError where error.key == .newerSchema {
            let version = (try? Json.read(content))?["schema_version"].map(Shown.repr) ?? "?"
            throw PocketError(
                Refusal(.newerSchema, ["found": version, "known": String(Manifest.schemaVersion)]))
        } catch let error as PocketError {
            var reason = error.text
            if reason.hasPrefix("manifest.json: ") { reason.removeFirst("manifest.json: ".count) }
            reason = reason.replacingOccurrences(of: "; copy the package again", with: "")
            throw PocketError(Refusal(.manifestInvalid, ["reason": reason]))
        }
    }
}
