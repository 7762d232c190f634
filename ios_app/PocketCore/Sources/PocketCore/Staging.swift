// The hidden folder in which a package is put together; what lies whole in it is never written again.
import Foundation

struct Staging {
    static let prefix = ".partial-"

    let folder: URL
    let manifest: Manifest
    /// The manifest's bytes.
    let content: [UInt8]

    private func url(_ path: String) -> URL { folder.appendingPathComponent(path) }

    private var hasManifest: Bool { Files.read(url(Manifest.fileName), most: content.count + 1) == content }

    /// Whether a file lies here with the right size and sha256.
    private func isStaged(_ file: Manifest.File) -> Bool {
        Files.size(url(file.path)) == Int64(file.bytes) && (try? Sha256.ofFile(url(file.path))) == file.sha256
    }

    /// Manifest and files.
    private var total: Int64 { Int64(Whole.sum(manifest.files.map(\.bytes) + [content.count])) }

    /// - Throws: `PocketError`: what must still be written does not fit.
    func checkSpace(free: Int64, isMoving: Bool) throws {
        var needed = hasManifest ? 0 : Int64(content.count)
        for file in manifest.files where !isMoving && needed <= Int64.max / 2 && !isStaged(file) {
            needed += Int64(file.bytes)
        }
        if needed > free {
            let sizes = [("needed", needed), ("free", free), ("missing", needed - free)]
            throw PocketError(
                Refusal(.noSpace, Dictionary(uniqueKeysWithValues: sizes.map { ($0, Sentences.size($1)) })))
        }
    }

    /// Copies what is missing; what does not belong here goes.
    ///
    /// - Throws: `PocketError`: stopped by the user, or the source is damaged; what the file system says.
    func fill(from source: any OpenedSource, _ isCancelled: () -> Bool, _ onState: (InstallState) -> Void) throws {
        var done: Int64 = 0
        func report(_ count: Int) throws {
            if isCancelled() { throw PocketError(Refusal(.installStopped)) }
            done += Int64(count)
            onState(.unpacking(done: done, total: total))
            if isCancelled() { throw PocketError(Refusal(.installStopped)) }
        }
        try report(0)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let wanted = Set(manifest.files.map(\.path) + [Manifest.fileName])
        for path in Files.paths(below: folder) where !wanted.contains(path) {
            try FileManager.default.removeItem(at: url(path))
        }
        if !hasManifest { try Data(content).write(to: url(Manifest.fileName), options: .atomic) }
        try report(content.count)
        for file in manifest.files {
            if isStaged(file) {
                try report(file.bytes)
                continue
            }
            let place = url(file.path)
            try? FileManager.default.removeItem(at: place)
            try FileManager.default.createDirectory(
                at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
            try source.copy(file, to: place, onBytes: report)
        }
    }

    /// Compares every file with its sha256, and the tokenizer with the manifest.
    ///
    /// - Throws: `PocketError`: stopped by the user, or a file is damaged; what the file system says.
    func verify(_ isCancelled: () -> Bool, _ onState: (InstallState) -> Void) throws {
        let total = Int64(Whole.sum(manifest.files.map(\.bytes)))
        var done: Int64 = 0
        func report(_ count: Int) throws {
            done += Int64(count)
            onState(.verifying(done: done, total: total))
            if isCancelled() { throw PocketError(Refusal(.installStopped)) }
        }
        try report(0)
        for file in manifest.files {
            if try Sha256.ofFile(url(file.path), onBytes: report) != file.sha256 {
                throw PocketError(Refusal(.fileDamaged, ["file": file.path]))
            }
        }
        try TokenizerCheck.check(manifest.tokenizer, file: url(manifest.tokenizer.file))
    }
}
