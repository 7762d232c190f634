// A zip read as if it came from an enemy: its directory first, then single entries, stored or deflated.
//
// Layout of records: APPNOTE.TXT 6.3.10 of PKWARE, 4.3 and 4.5. Knows no manifest.
import CZlib
import Foundation

/// One entry of a zip's directory.
struct ZipEntry: Equatable {
    enum Method: Equatable {
        case stored, deflated, other
    }

    let name: String
    let method: Method
    let crc: UInt32
    /// Bytes in the zip.
    let packed: Int64
    /// Bytes unpacked, as the directory says.
    let size: Int64
    /// Where its local header begins.
    let offset: Int64
    let isEncrypted: Bool
    /// A file, a folder, or of no kind; not a link or device.
    let isPlain: Bool

    var isFolder: Bool { name.hasSuffix("/") }
}

/// The zip is cut off, damaged, or longer or shorter than it says.
struct ZipDamage: Error {}

final class ZipReader {
    static let maxEntries = 1000
    /// Times the zip's own size.
    static let maxExpansion: Int64 = 100

    private let handle: FileHandle
    let size: Int64
    private(set) var entries: [ZipEntry] = []

    /// Reads the directory.
    ///
    /// - Throws: `ZipDamage`; a `PocketError` with its key where the zip has too many entries or a hostile one; what
    ///   the file system says.
    init(_ file: URL) throws {
        handle = try FileHandle(forReadingFrom: file)
        size = Int64(try handle.seekToEnd())
        let directory = try findDirectory()
        if directory.count > Self.maxEntries {
            throw PocketError(
                Refusal(.zipTooManyEntries, ["count": String(directory.count), "most": String(Self.maxEntries)]))
        }
        entries = try readEntries(directory)
        try ZipRules.check(entries)
    }

    deinit { try? handle.close() }

    func entry(_ name: String) -> ZipEntry? { entries.first { $0.name.utf8.elementsEqual(name.utf8) } }

    /// Exactly as many bytes as the entry says it has, block by block.
    ///
    /// - Throws: `ZipDamage`; what the file system or `onBlock` says.
    func read(_ entry: ZipEntry, onBlock: (UnsafeRawBufferPointer) throws -> Void) throws {
        let header = try bytes(at: entry.offset, count: 30)
        guard header.uint32(0) == 0x0403_4B50 else { throw ZipDamage() }
        var at = entry.offset + 30 + Int64(header.uint16(26)) + Int64(header.uint16(28))
        guard entry.packed >= 0, at <= size, entry.packed <= size - at else { throw ZipDamage() }
        var left = entry.packed
        var checked = Checked(size: entry.size)
        let inflater = entry.method == .deflated ? try Inflater() : nil
        while left > 0, checked.left > 0 || inflater != nil {
            let block = try bytes(at: at, count: Int(min(left, Int64(Files.block))))
            at += Int64(block.count)
            left -= Int64(block.count)
            if let inflater {
                try inflater.feed(block) { try checked.take($0, onBlock) }
                if inflater.isDone { break }
            } else {
                try block.withUnsafeBytes { try checked.take($0, onBlock) }
            }
        }
        guard checked.left == 0, left == 0 || inflater == nil, inflater?.isDone ?? (left == 0) else {
            throw ZipDamage()
        }
        guard checked.crc == entry.crc else { throw ZipDamage() }
    }

    /// What was unpacked so far against what was agreed.
    private struct Checked {
        var left: Int64
        var crc: UInt32 = 0

        init(size: Int64) { left = size }

        mutating func take(
            _ block: UnsafeRawBufferPointer, _ onBlock: (UnsafeRawBufferPointer) throws -> Void
        ) throws {
            left -= Int64(block.count)
            if left < 0 { throw ZipDamage() }
            let start = block.bindMemory(to: UInt8.self).baseAddress
            crc = UInt32(truncatingIfNeeded: crc32(uLong(crc), start, uInt(block.count)))
            try onBlock(block)
        }
    }

    private func bytes(at offset: Int64, count: Int) throws -> [UInt8] {
        guard offset >= 0, count >= 0, offset <= size, Int64(count) <= size - offset else { throw ZipDamage() }
        try handle.seek(toOffset: UInt64(offset))
        let data = try handle.read(upToCount: count) ?? Data()
        guard data.count == count else { throw ZipDamage() }
        return Array(data)
    }

    private struct Directory {
        var count: Int
        var span: Int64
        var offset: Int64
    }

    /// The end record stands at the very end, behind it only its own comment.
    private func findDirectory() throws -> Directory {
        let tail = try bytes(at: max(0, size - 22 - 65_535), count: Int(min(size, 22 + 65_535)))
        var at = tail.count - 22
        while at >= 0 {
            if tail.uint32(at) == 0x0605_4B50, at + 22 + Int(tail.uint16(at + 20)) == tail.count { break }
            at -= 1
        }
        guard at >= 0 else { throw ZipDamage() }
        let found = Directory(
            count: Int(tail.uint16(at + 10)), span: Int64(tail.uint32(at + 12)), offset: Int64(tail.uint32(at + 16)))
        let isWide = found.count == 0xFFFF || found.span == 0xFFFF_FFFF || found.offset == 0xFFFF_FFFF
        let place = size - Int64(tail.count - at)
        return isWide ? try wideDirectory(before: place) ?? found : found
    }

    /// The zip64 end record, by the locator in front of the end record; nil where there is none.
    private func wideDirectory(before end: Int64) throws -> Directory? {
        guard end >= 20 else { return nil }
        let locator = try bytes(at: end - 20, count: 20)
        guard locator.uint32(0) == 0x0706_4B50 else { return nil }
        let record = try bytes(at: locator.int64(8), count: 56)
        guard record.uint32(0) == 0x0606_4B50, record.int64(32) >= 0 else { throw ZipDamage() }
        return Directory(
            count: Int(clamping: record.int64(32)), span: record.int64(40), offset: record.int64(48))
    }

    private func readEntries(_ directory: Directory) throws -> [ZipEntry] {
        guard (0...1 << 26).contains(directory.span), directory.span >= 46 * Int64(directory.count)
        else { throw ZipDamage() }
        let records = try bytes(at: directory.offset, count: Int(directory.span))
        var found: [ZipEntry] = []
        var at = 0
        for _ in 0..<directory.count {
            guard at + 46 <= records.count, records.uint32(at) == 0x0201_4B50 else { throw ZipDamage() }
            let nameEnd = at + 46 + Int(records.uint16(at + 28))
            let extraEnd = nameEnd + Int(records.uint16(at + 30))
            let end = extraEnd + Int(records.uint16(at + 32))
            guard end <= records.count else { throw ZipDamage() }
            let (name, extra) = (records[(at + 46)..<nameEnd], Array(records[nameEnd..<extraEnd]))
            let entry = entry(records, at, name: name, extra: extra)
            guard entry.offset >= 0, entry.offset < size else { throw ZipDamage() }
            found.append(entry)
            at = end
        }
        return found
    }

    private func entry(_ record: [UInt8], _ at: Int, name: ArraySlice<UInt8>, extra: [UInt8]) -> ZipEntry {
        let method = record.uint16(at + 10)
        let kind = record.uint32(at + 38) >> 16 & 0xF000
        // Fields of 32 bits that are full stand in the zip64 extra field instead, in this order.
        var wide = Self.wideFields(extra)[...]
        func value(_ field: UInt32) -> Int64 {
            field == 0xFFFF_FFFF ? wide.popFirst() ?? Int64(field) : Int64(field)
        }
        let size = value(record.uint32(at + 24))
        let packed = value(record.uint32(at + 20))
        let offset = value(record.uint32(at + 42))
        return ZipEntry(
            name: String(decoding: name, as: UTF8.self),
            method: method == 0 ? .stored : method == 8 ? .deflated : .other,
            crc: record.uint32(at + 16), packed: packed, size: size, offset: offset,
            isEncrypted: record.uint16(at + 8) & 1 != 0, isPlain: [0, 0x8000, 0x4000].contains(kind))
    }

    private static func wideFields(_ extra: [UInt8]) -> [Int64] {
        var at = 0
        while at + 4 <= extra.count {
            let (id, length) = (extra.uint16(at), Int(extra.uint16(at + 2)))
            if id == 1, at + 4 + length <= extra.count {
                return stride(from: at + 4, through: at + 4 + length - 8, by: 8).map { extra.int64($0) }
            }
            at += 4 + length
        }
        return []
    }
}

extension Array where Element == UInt8 {
    fileprivate func uint16(_ at: Int) -> UInt16 { UInt16(self[at]) | UInt16(self[at + 1]) << 8 }
    fileprivate func uint32(_ at: Int) -> UInt32 { UInt32(uint16(at)) | UInt32(uint16(at + 2)) << 16 }
    fileprivate func int64(_ at: Int) -> Int64 {
        Int64(bitPattern: UInt64(uint32(at)) | UInt64(uint32(at + 4)) << 32)
    }
}
