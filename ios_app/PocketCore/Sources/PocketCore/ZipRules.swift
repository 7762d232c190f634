// Which entries a package's zip may hold (docs/package.md, step 4).

enum ZipRules {
    /// - Throws: `PocketError` with the key of the first rule that an entry breaks.
    static func check(_ entries: [ZipEntry]) throws {
        for entry in entries {
            let place = ["entry": entry.name]
            if leaves(Array(entry.name.utf8)) { throw PocketError(Refusal(.zipEntryLeaves, place)) }
            if !entry.isPlain { throw PocketError(Refusal(.zipEntryLink, place)) }
            if entry.isEncrypted { throw PocketError(Refusal(.zipEntryEncrypted, place)) }
            if entry.method == .other { throw PocketError(Refusal(.zipEntryCompression, place)) }
        }
        var seen: Set<[UInt8]> = []
        for entry in entries {
            let folded = entry.name.lowercased()
            if !seen.insert(Array(folded.utf8)).inserted {
                throw PocketError(Refusal(.zipEntryTwice, ["entry": folded]))
            }
        }
    }

    private static func leaves(_ name: [UInt8]) -> Bool {
        let slash = UInt8(ascii: "/")
        if name.first == slash || name.contains(where: { [0, UInt8(ascii: "\\"), UInt8(ascii: ":")].contains($0) }) {
            return true
        }
        return name.split(separator: slash).contains { $0.elementsEqual("..".utf8) }
    }
}
