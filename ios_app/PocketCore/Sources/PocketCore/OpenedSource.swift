// A package's files before they are installed: the entries of a zip, or a folder.
import Foundation

/// What the installer needs of a source. Failures are `PocketError`s with their key.
protocol OpenedSource: AnyObject {
    /// What sentences call it.
    var name: String { get }
    /// Whether `copy` moves files, which takes no space.
    var isMoving: Bool { get }

    /// The manifest's bytes.
    func manifest() throws -> [UInt8]

    /// Bytes of a file; nil where it is missing.
    func size(_ path: String) -> Int64?

    /// Refuses a source that would grow suspiciously.
    func checkExpansion(_ manifest: Manifest) throws

    /// Puts a file at a place; nothing is there before.
    ///
    /// - Parameter onBytes: told how many bytes each step has written; what it throws ends the work.
    func copy(_ file: Manifest.File, to place: URL, onBytes: (Int) throws -> Void) throws

    /// After the installation.
    func finish()
}

extension PackageSource {
    func open() throws -> any OpenedSource {
        switch self {
        case .zip(let file): return try ZipSource(file)
        case .folder(let folder, let isMovable): return FolderSource(folder, isMovable: isMovable)
        }
    }
}

extension OpenedSource {
    func checkSizes(_ manifest: Manifest) throws {
        for file in manifest.files {
            guard let found = size(file.path) else { throw PocketError(Refusal(.fileMissing, ["file": file.path])) }
            if found != Int64(file.bytes) {
                throw PocketError(
                    Refusal(
                        .fileSize, ["file": file.path, "found": String(found), "wanted": String(file.bytes)]))
            }
        }
    }

    func unreadable(_ error: any Error) -> PocketError {
        PocketError(Refusal(.sourceUnreadable, ["name": name, "reason": Refusal.reason(error.localizedDescription)]))
    }
}

private final class ZipSource: OpenedSource {
    private let zip: ZipReader
    let name: String
    let isMoving = false

    init(_ file: URL) throws {
        name = file.lastPathComponent
        guard let head = Files.read(file, most: 8) else {
            throw PocketError(
                Refusal(.sourceUnreadable, ["name": name, "reason": "it is missing, or may not be opened"]))
        }
        guard head.starts(with: Array("PK".utf8)) else {
            let isProgram = file.pathExtension == "pte" || head.dropFirst(4).starts(with: "ET".utf8)
            throw PocketError(Refusal(isProgram ? .programAlone : .notAPackageFile, ["name": name]))
        }
        do {
            zip = try ZipReader(file)
        } catch is ZipDamage {
            throw PocketError(Refusal(.zipDamaged, ["name": name]))
        }
    }

    private func damaged() -> PocketError { PocketError(Refusal(.zipDamaged, ["name": name])) }

    func manifest() throws -> [UInt8] {
        guard let entry = zip.entry(Manifest.fileName) else {
            let inner = zip.entries.map(\.name).filter {
                $0.hasSuffix("/" + Manifest.fileName) && $0.split(separator: "/").count == 2
            }
            if let first = inner.min() {
                let folder = String(first.prefix { $0 != "/" })
                throw PocketError(Refusal(.zipInFolder, ["folder": folder]))
            }
            throw PocketError(Refusal(.notAPackageFile, ["name": name]))
        }
        if entry.size > Int64(Manifest.maxBytes) {
            let reason = "\(Manifest.fileName) has \(entry.size) bytes; at most \(Manifest.maxBytes) are read"
            throw PocketError(Refusal(.manifestInvalid, ["reason": reason]))
        }
        var content: [UInt8] = []
        do {
            try zip.read(entry) { content += $0 }
        } catch is ZipDamage {
            throw damaged()
        }
        return content
    }

    func size(_ path: String) -> Int64? {
        zip.entry(path).flatMap { $0.isFolder ? nil : $0.size }
    }

    func checkExpansion(_ manifest: Manifest) throws {
        let total = Int64(Whole.sum(manifest.files.map(\.bytes)))
        if total / ZipReader.maxExpansion >= zip.size, total > ZipReader.maxExpansion * zip.size {
            throw PocketError(
                Refusal(.zipBomb, ["packed": Sentences.size(zip.size), "total": Sentences.size(total)]))
        }
    }

    func copy(_ file: Manifest.File, to place: URL, onBytes: (Int) throws -> Void) throws {
        guard let entry = zip.entry(file.path) else { throw damaged() }
        try Data().write(to: place)
        let output = try FileHandle(forWritingTo: place)
        defer { try? output.close() }
        do {
            try zip.read(entry) { block in
                try output.write(contentsOf: Data(block))
                try onBytes(block.count)
            }
        } catch is ZipDamage {
            throw damaged()
        }
        try output.synchronize()
    }

    func finish() {}
}

private final class FolderSource: OpenedSource {
    private let folder: URL
    let name: String
    let isMoving: Bool

    init(_ folder: URL, isMovable: Bool) {
        self.folder = folder
        name = folder.lastPathComponent
        isMoving = isMovable
    }

    /// A folder does not grow.
    func checkExpansion(_ manifest: Manifest) {}

    func manifest() throws -> [UInt8] {
        let file = folder.appendingPathComponent(Manifest.fileName)
        guard Files.size(file) != nil else { throw PocketError(Refusal(.notAPackageFolder, ["name": name])) }
        guard let content = Files.read(file, most: Manifest.maxBytes + 1) else {
            throw unreadable(POSIXError(.EACCES))
        }
        return content
    }

    func size(_ path: String) -> Int64? { Files.size(folder.appendingPathComponent(path)) }

    func copy(_ file: Manifest.File, to place: URL, onBytes: (Int) throws -> Void) throws {
        let from = folder.appendingPathComponent(file.path)
        if isMoving, (try? Files.rename(from, to: place)) != nil {
            try onBytes(file.bytes)
            return
        }
        let input: FileHandle
        do {
            input = try FileHandle(forReadingFrom: from)
        } catch {
            throw unreadable(error)
        }
        defer { try? input.close() }
        try Data().write(to: place)
        let output = try FileHandle(forWritingTo: place)
        defer { try? output.close() }
        while let block = try input.read(upToCount: Files.block), !block.isEmpty {
            try output.write(contentsOf: block)
            try onBytes(block.count)
        }
        try output.synchronize()
    }

    /// What was moved leaves an empty shell behind.
    func finish() {
        guard isMoving else { return }
        try? FileManager.default.removeItem(at: folder.appendingPathComponent(Manifest.fileName))
        if Files.paths(below: folder).isEmpty { try? FileManager.default.removeItem(at: folder) }
    }
}
