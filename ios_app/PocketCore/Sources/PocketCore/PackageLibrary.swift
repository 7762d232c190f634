// The packages on the device: listing, removal, and the leftovers of installs that were killed.
import Foundation

/// A package that lies verified in the packages folder.
public struct InstalledPackage: Equatable, Sendable, Identifiable {
    public let id: PackageId
    public let folder: URL
    public let manifest: Manifest

    public init(id: PackageId, folder: URL, manifest: Manifest) {
        self.id = id
        self.folder = folder
        self.manifest = manifest
    }

    /// The program to load.
    public var program: URL { folder.appendingPathComponent(manifest.file(role: .program).path) }
    public var tokenizer: URL { folder.appendingPathComponent(manifest.tokenizer.file) }
    public var licences: [URL] {
        manifest.files.filter { $0.role == .licence }.map { folder.appendingPathComponent($0.path) }
    }
    /// What a list calls it.
    public var name: String { manifest.model.preset ?? manifest.model.family }
    /// Of all its files, the manifest not counted.
    public var bytes: Int64 { manifest.files.reduce(0) { $0 + Int64($1.bytes) } }
}

public final class PackageLibrary: Sendable {
    private let store: any PackageStore

    public init(store: any PackageStore) {
        self.store = store
    }

    /// Every whole package, by name, target and folder. Files are compared by size; their hashes were at installation.
    public func list() -> [InstalledPackage] {
        let found = Files.names(in: store.folder).compactMap { name -> InstalledPackage? in
            let folder = store.folder.appendingPathComponent(name, isDirectory: true)
            guard let (content, manifest) = Self.manifest(in: folder) else { return nil }
            let package = InstalledPackage(
                id: PackageId(Sha256.hex(content)), folder: folder, manifest: manifest)
            return package.id.short == name && Self.isWhole(package, content: content) ? package : nil
        }
        return found.sorted { left, right in
            let keys = [(left.name, right.name), (left.manifest.target, right.manifest.target)]
            for (one, other) in keys where one != other { return one.utf8.lexicographicallyPrecedes(other.utf8) }
            return left.id.sha256 < right.id.sha256
        }
    }

    public func find(_ id: PackageId) -> InstalledPackage? { list().first { $0.id == id } }

    /// Folders of installations that can be gone on with.
    public func unfinished() -> [String] { stagingFolders().filter(isResumable) }

    /// Removes a package's files.
    ///
    /// - Returns: why it could not be done, or nil.
    public func remove(_ id: PackageId) -> Refusal? {
        guard let package = find(id) else { return nil }
        do {
            try FileManager.default.removeItem(at: package.folder)
            return nil
        } catch {
            let reason = Refusal.reason(error.localizedDescription)
            return Refusal(.removalFailed, ["name": package.name, "reason": reason])
        }
    }

    /// Removes the folders of installations that cannot be gone on with.
    public func cleanUp() {
        for name in stagingFolders() where !isResumable(name) {
            try? FileManager.default.removeItem(at: store.folder.appendingPathComponent(name))
        }
    }

    private func stagingFolders() -> [String] {
        Files.names(in: store.folder).filter { $0.hasPrefix(Staging.prefix) }
    }

    private func isResumable(_ name: String) -> Bool {
        guard let (content, _) = Self.manifest(in: store.folder.appendingPathComponent(name)) else { return false }
        return name == Staging.prefix + PackageId(Sha256.hex(content)).short
    }

    private static func manifest(in folder: URL) -> ([UInt8], Manifest)? {
        let file = folder.appendingPathComponent(Manifest.fileName)
        guard Files.isFolder(folder), let content = Files.read(file, most: Manifest.maxBytes + 1),
            let manifest = try? Manifest.read(content)
        else { return nil }
        return (content, manifest)
    }

    /// Whether a package lies at its place with this manifest, every file with its size.
    static func isWhole(_ package: InstalledPackage, content: [UInt8]) -> Bool {
        Files.read(package.folder.appendingPathComponent(Manifest.fileName), most: content.count + 1) == content
            && package.manifest.files.allSatisfy {
                Files.size(package.folder.appendingPathComponent($0.path)) == Int64($0.bytes)
            }
    }
}
