// Removes a stop text, and everything after it, from a stream of text.
//
// A reply arrives in pieces, and a stop text may be spread over several of them: what could still become one is held
// back until it is decided. Texts are compared as bytes of UTF-8. Knows no token and no template.

/// One reply's filter: the stream ends where the first stop text becomes complete.
///
/// When two stop texts become complete with the same character, the one that began earlier is cut. So the result
/// depends on the text alone, never on how it was split into pieces.
public struct StopFilter: Sendable {
    private let stopTexts: [[UInt8]]
    private var held: [UInt8] = []

    /// Whether a stop text was met; everything pushed from then on is dropped.
    public private(set) var isStopped = false

    /// - Throws: `PocketError`: a stop text is empty; it would end every reply before its first character.
    public init(_ stopTexts: [String]) throws {
        if stopTexts.contains("") {
            throw PocketError("a stop text is empty, so every reply would end at once; leave it out of the list")
        }
        self.stopTexts = stopTexts.map { Array($0.utf8) }
    }

    /// Takes the next piece and returns what is now certain to belong to the reply (often empty).
    public mutating func push(_ text: String) -> String {
        if isStopped { return "" }
        held += text.utf8
        if let start = firstStop() {
            isStopped = true
            return release(start, keeping: false)
        }
        return release(held.count - numUndecided(), keeping: true)
    }

    /// Ends the stream: returns what was held back, for no stop text came of it.
    public mutating func flush() -> String { release(held.count, keeping: false) }

    private mutating func release(_ count: Int, keeping: Bool) -> String {
        let visible = String(decoding: held[..<count], as: UTF8.self)
        held = keeping ? Array(held[count...]) : []
        return visible
    }

    /// Where the stop text begins that is complete first, or nil.
    private func firstStop() -> Int? {
        var best: (end: Int, start: Int)?
        for stop in stopTexts {
            guard let start = Utf8.find(stop, in: held) else { continue }
            let found = (end: start + stop.count, start: start)
            if best == nil || found < best! { best = found }
        }
        return best?.start
    }

    /// Length of the longest end of the held text that is the beginning of a stop text.
    private func numUndecided() -> Int {
        var longest = 0
        for stop in stopTexts {
            var length = min(stop.count - 1, held.count)
            while length > longest {
                if held[(held.count - length)...].elementsEqual(stop[..<length]) { longest = length }
                length -= 1
            }
        }
        return longest
    }
}
