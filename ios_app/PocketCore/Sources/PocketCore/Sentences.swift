// Every sentence that the core says to the user, save those of the chat's own units, which are Python's.

/// The key of a sentence in tests/vectors/sentences.json.
public enum SentenceKey: String, CaseIterable, Sendable {
    case notAPackageFile, notAPackageFolder, programAlone, zipInFolder, zipDamaged, zipEntryLeaves, zipEntryLink,
        zipEntryTwice, zipEntryEncrypted, zipEntryCompression, zipTooManyEntries, zipBomb, newerSchema,
        manifestInvalid, otherRunner, needsCoreMl, newerRuntime, fileMissing, fileSize, fileDamaged,
        tokenizerMismatch, noSpace, installStopped, sourceUnreadable, storageFailed, removalFailed
    case urlNotHttps, downloadForbidden, downloadNotFound, downloadServerError, downloadRefused, downloadNotAZip,
        downloadNoSpace, downloadTooLong, downloadPaused
    case memoryTight, memoryTooLarge
    case engineInternal, engineInvalidState, engineEndOfMethod, engineAlreadyLoaded, engineNotSupported,
        engineNotImplemented, engineInvalidArgument, engineInvalidType, engineOperatorMissing, engineTooManyKernels,
        engineKernelTwice, engineNotFound, engineMemory, engineAccess, engineInvalidProgram, engineExternalData,
        engineResources, engineDelegateVersion, engineDelegateMemory, engineDelegateHandle, engineUnknown,
        engineFailed
    case forgottenOne, forgottenMany, unloadedMemory, unloadedBackground, unloadedThermal, historyDamaged,
        completionOnly, countsAreBounds
    case selfTestPassed, selfTestPassedLater, selfTestFailedIds, selfTestFailedText, selfTestShort, selfTestUnsure,
        benchmarkStopped
}

public enum Sentences {
    private static let table = SentenceTable.all.reduce(into: [SentenceKey: String]()) { all, group in
        all.merge(group) { _, new in new }
    }

    /// The English text of a key as it stands in the table, its places in braces.
    public static func template(_ key: SentenceKey) -> String { table[key] ?? key.rawValue }

    /// The English text of a key with its places filled in; what a value holds is not filled in again.
    public static func text(_ key: SentenceKey, _ values: [String: String] = [:]) -> String {
        var out = ""
        var rest = Substring(template(key))
        while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
            let name = String(rest[rest.index(after: open)..<close])
            out += rest[..<open] + (values[name] ?? "{\(name)}")
            rest = rest[rest.index(after: close)...]
        }
        return out + rest
    }

    /// Bytes as people read them: decimal units, one decimal, rounded half up in whole numbers.
    public static func size(_ bytes: Int64) -> String {
        if bytes < 1000 { return bytes == 1 ? "1 byte" : "\(bytes) bytes" }
        var unit: Int64 = 1000
        for name in ["kB", "MB", "GB"] {
            if let text = size(bytes, unit: unit, name: name) { return text }
            unit *= 1000
        }
        return size(bytes, unit: unit, name: "TB", isLast: true) ?? ""
    }

    private static func size(_ bytes: Int64, unit: Int64, name: String, isLast: Bool = false) -> String? {
        let (whole, rest) = bytes.quotientAndRemainder(dividingBy: unit)
        let tenths = whole * 10 + (rest * 10 + unit / 2) / unit
        return tenths < 10_000 || isLast ? "\(tenths / 10).\(tenths % 10) \(name)" : nil
    }

    /// A note or error of the chat's units as the screen shows it: a capital letter first, a full stop last.
    public static func asSentence(_ text: String) -> String {
        guard let first = text.unicodeScalars.first, let last = text.unicodeScalars.last else { return "" }
        var out = String.UnicodeScalarView()
        let isSmall = ("a"..."z").contains(first)
        out.append(isSmall ? Unicode.Scalar(UInt8(first.value) - 32) : first)
        out.append(contentsOf: text.unicodeScalars.dropFirst())
        if ![".", "!", "?"].contains(last) { out.append(".") }
        return String(out)
    }
}
