// The few calls of the file system that Foundation lacks or words differently.
import Foundation

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

enum Files {
    /// Bytes that are read or written at once.
    static let block = 1 << 20

    /// Puts a file or folder in another's place in one step; an existing file is replaced.
    ///
    /// - Throws: `POSIXError` with the system's code.
    static func rename(_ from: URL, to: URL) throws {
        if Foundation.rename(from.path, to.path) != 0 { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
    }

    /// Bytes of a plain file; nil where there is none.
    static func size(_ file: URL) -> Int64? {
        var info = stat()
        guard stat(file.path, &info) == 0, info.st_mode & S_IFMT == S_IFREG else { return nil }
        return Int64(info.st_size)
    }

    static func isFolder(_ url: URL) -> Bool {
        var info = stat()
        return lstat(url.path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
    }

    /// Names in a folder, sorted; none where it cannot be read.
    static func names(in folder: URL) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []).sorted()
    }

    /// Paths of all plain files below a folder, relative to it.
    static func paths(below folder: URL, prefix: String = "") -> [String] {
        names(in: folder).flatMap { name in
            let url = folder.appendingPathComponent(name)
            return isFolder(url) ? paths(below: url, prefix: prefix + name + "/") : [prefix + name]
        }
    }

    /// At most `most` bytes of a file's beginning; nil where it cannot be read.
    static func read(_ file: URL, most: Int) -> [UInt8]? {
        guard let handle = try? FileHandle(forReadingFrom: file) else { return nil }
        defer { try? handle.close() }
        var content: [UInt8] = []
        do {
            while content.count < most, let block = try handle.read(upToCount: min(block, most - content.count)) {
                if block.isEmpty { break }
                content += block
            }
        } catch {
            return nil
        }
        return content
    }
}
