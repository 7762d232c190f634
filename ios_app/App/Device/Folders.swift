// Where the app keeps things.
import Foundation
import PocketCore

struct Folders: PackageStore {
    /// What Finder and the Files app show: packages put there wait for being installed.
    let shared: URL
    /// Packages, downloads and chats; no part of a backup, for all but the chats can be fetched again.
    let base: URL

    var folder: URL { base.appendingPathComponent("Packages", isDirectory: true) }
    var downloads: URL { base.appendingPathComponent("Downloads", isDirectory: true) }
    var chats: URL { base.appendingPathComponent("Chats", isDirectory: true) }

    /// Makes the folders that are missing.
    static func standard() throws -> Folders {
        let files = FileManager.default
        let shared = try files.url(for: .documentDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        let base = try files.url(
            for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        let folders = Folders(shared: shared, base: base)
        try folders.make()
        return folders
    }

    func make() throws {
        for folder in [folder, downloads, chats] {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        }
        for var folder in [folder, downloads] {
            var values = URLResourceValues()
            values.isExcludedFromBackup = true
            try folder.setResourceValues(values)
        }
    }

    /// Bytes that iOS frees for something that the user asked for.
    func freeBytes() -> Int64 {
        let values = try? base.resourceValues(forKeys: [.volumeAvailableCapacityForImportantUsageKey])
        return values?.volumeAvailableCapacityForImportantUsage ?? 0
    }

    /// Whether a file lies in the shared folder.
    func contains(_ url: URL) -> Bool {
        let parents = url.standardizedFileURL.deletingLastPathComponent().pathComponents
        return parents.starts(with: shared.standardizedFileURL.pathComponents)
    }

    /// Moves a file into the shared folder, under a name that is free there.
    func share(_ file: URL, as name: String) throws -> URL {
        let wanted = shared.appendingPathComponent(name)
        let (stem, ending) = (wanted.deletingPathExtension().lastPathComponent, wanted.pathExtension)
        var place = wanted
        var number = 2
        while FileManager.default.fileExists(atPath: place.path) {
            place = shared.appendingPathComponent("\(stem) \(number)").appendingPathExtension(ending)
            number += 1
        }
        try FileManager.default.moveItem(at: file, to: place)
        return place
    }

    /// Removes what an installation has left of a package's folder; files that are none of the package's stay.
    func clear(_ folder: URL, of package: InstalledPackage) {
        let files = FileManager.default
        for path in [Manifest.fileName] + package.manifest.files.map(\.path) {
            try? files.removeItem(at: folder.appendingPathComponent(path))
        }
        let rest = files.enumerator(at: folder, includingPropertiesForKeys: nil)?.compactMap { $0 as? URL } ?? []
        if rest.allSatisfy({ $0.isFolder || $0.lastPathComponent == ".DS_Store" }) { try? files.removeItem(at: folder) }
    }

    /// Packages that lie in the shared folder: zips, and folders with a manifest.
    func waiting() -> [URL] {
        let files = FileManager.default
        let entries = (try? files.contentsOfDirectory(at: shared, includingPropertiesForKeys: nil)) ?? []
        return entries.filter { entry in
            entry.pathExtension.lowercased() == "zip"
                || files.fileExists(atPath: entry.appendingPathComponent("manifest.json").path)
        }
        .sorted { $0.lastPathComponent < $1.lastPathComponent }
    }
}
