// Reads JSON strictly, place by place. A problem is one sentence that begins with the place: `cache.layers[3].slots is`

/// A value and where it stands in the document.
struct Place {
    /// The largest integer that every JSON reader keeps exactly.
    static let maxInteger: Int64 = 1 << 53 - 1

    let value: JsonValue
    let path: String

    /// The one-line error for this place.
    func wrong(_ message: String) -> PocketError {
        PocketError("\(path.isEmpty ? "the document" : path) \(message)")
    }

    private func mustBe(_ what: String) -> PocketError { wrong("is \(Shown.short(value)); it must be \(what)") }

    /// An object with exactly these keys.
    func object(_ keys: [String]) throws -> StrictObject {
        guard case .object(let object) = value else { throw mustBe("an object") }
        for key in object.keys where !keys.contains(where: { $0.utf8.elementsEqual(key.utf8) }) {
            throw wrong("has the unknown key \(Shown.short(key)); known: \(keys.joined(separator: ", "))")
        }
        for key in keys where object[key] == nil { throw PocketError("\(join(key)) is missing") }
        return StrictObject(object: object, place: self)
    }

    /// An object with any keys.
    func members(least: Int = 0) throws -> [(key: String, place: Place)] {
        guard case .object(let object) = value else { throw mustBe("an object") }
        let members = object.entries.map { (key: $0.key, place: Place(value: $0.value, path: join($0.key))) }
        try checkCount(members.count, least)
        return members
    }

    func list(least: Int = 0) throws -> [Place] {
        guard let items = value.items else { throw mustBe("a list") }
        let places = items.enumerated().map { Place(value: $0.element, path: "\(path)[\($0.offset)]") }
        try checkCount(places.count, least)
        return places
    }

    func int(least: Int64 = -Place.maxInteger) throws -> Int {
        if case .outsized = value { throw wrong("is \(Shown.short(value)); integers go up to \(Self.maxInteger)") }
        guard case .integer(let number) = value else { throw mustBe("an integer") }
        if number > Self.maxInteger || number < -Self.maxInteger {
            throw wrong("is \(number); integers go up to \(Self.maxInteger)")
        }
        if number < least { throw wrong("is \(number); it must be at least \(least)") }
        return Int(number)
    }

    func number(least: Double = -.infinity) throws -> Double {
        let number: Double
        switch value {
        case .integer(let given): number = abs(given) <= Self.maxInteger ? Double(given) : .infinity
        case .outsized: number = .infinity
        case .double(let given): number = given
        default: throw mustBe("a number")
        }
        if !number.isFinite { throw wrong("is not a finite number") }
        if number < least { throw wrong("is \(Shown.repr(number)); it must be at least \(Int(least))") }
        return number
    }

    func string(least: Int = 0) throws -> String {
        if case .broken = value { throw wrong("holds half of a surrogate pair; text must be valid Unicode") }
        guard case .string(let text) = value else { throw mustBe("a string") }
        if text.isEmpty, least > 0 { throw wrong("is empty") }
        return text
    }

    func string(_ rule: TextRule) throws -> String {
        let text = try string()
        if !rule.holds(Array(text.utf8)) { throw wrong("is \(Shown.short(text)); it must be \(rule.words)") }
        return text
    }

    func bool() throws -> Bool {
        guard case .bool(let flag) = value else { throw mustBe("true or false") }
        return flag
    }

    func oneOf<Choice: RawRepresentable & CaseIterable>(_: Choice.Type) throws -> Choice
    where Choice.RawValue == String {
        if case .string(let text) = value, let choice = Choice(rawValue: text) { return choice }
        let allowed = Choice.allCases.map(\.rawValue).joined(separator: ", ")
        throw wrong("is \(Shown.short(value)); allowed: \(allowed)")
    }

    func oneOf(_ numbers: [Int]) throws -> Int {
        if case .integer(let number) = value, numbers.contains(Int(number)) { return Int(number) }
        throw wrong("is \(Shown.short(value)); allowed: \(numbers.map(String.init).joined(separator: ", "))")
    }

    func optional<Result>(_ read: (Place) throws -> Result) throws -> Result? {
        if case .null = value { return nil }
        return try read(self)
    }

    /// Puts the place in front of what a reader of its own says.
    func guarded<Result>(_ read: () throws -> Result) throws -> Result {
        do {
            return try read()
        } catch let error as PocketError {
            throw PocketError("\(path): \(error.text)")
        }
    }

    private func checkCount(_ count: Int, _ least: Int) throws {
        if count >= least { return }
        throw wrong(least == 1 ? "is empty" : "has \(count) items; it needs at least \(least)")
    }

    func join(_ key: String) -> String {
        let isPlain = key.utf8.enumerated().allSatisfy { index, byte in
            TextRule.isLetter(byte) || byte == UInt8(ascii: "_") || index > 0 && TextRule.isDigit(byte)
        }
        if key.isEmpty || !isPlain { return "\(path)[\(Shown.short(key))]" }
        return path.isEmpty ? key : "\(path).\(key)"
    }
}

/// An object whose keys were checked.
struct StrictObject {
    let object: JsonObject
    let place: Place

    subscript(key: String) -> Place { Place(value: object[key] ?? .null, path: place.join(key)) }
}

/// What the whole of a text must be.
struct TextRule {
    let words: String
    let holds: ([UInt8]) -> Bool

    static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
    static func isSmall(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte) }
    static func isLetter(_ byte: UInt8) -> Bool { isSmall(byte) || (0x41...0x5A).contains(byte) }

    static var sha256: TextRule {
        TextRule(words: "64 lower-case hexadecimal digits") { text in
            text.count == 64 && text.allSatisfy { isDigit($0) || (0x61...0x66).contains($0) }
        }
    }

    static var slug: TextRule {
        TextRule(words: "lower-case letters and digits, joined by single hyphens") { text in
            text.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false).allSatisfy { part in
                !part.isEmpty && part.allSatisfy { isSmall($0) || isDigit($0) }
            }
        }
    }

    static var release: TextRule {
        TextRule(words: "a release like 1.5.1") { text in
            let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
            return (2...3).contains(parts.count) && parts.allSatisfy { !$0.isEmpty && $0.allSatisfy(isDigit) }
        }
    }

    static var path: TextRule {
        TextRule(
            words: "a relative path inside the package: ASCII names joined by '/', none beginning with a dot"
        ) { text in
            text.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).allSatisfy { part in
                guard let first = part.first, isLetter(first) || isDigit(first) || first == UInt8(ascii: "_") else {
                    return false
                }
                return part.allSatisfy { isLetter($0) || isDigit($0) || Array("_.+() -".utf8).contains($0) }
            }
        }
    }
}
