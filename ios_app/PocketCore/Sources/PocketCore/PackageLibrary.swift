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
    /// Of all its files, the manifest not counted.
    public var bytes: Int64 { manifest.files.reduce(0) { $0 + Int64($1.bytes) } }
}
