// Which slot of a cache holds which position, and what a query sees: integers only, no tensors.
//
// The token at position p lies in slot `p mod slots`. A cache that never wraps is the case where positions stay below
// `slots`. Every dividend below is non-negative, so a remainder that truncates gives the same numbers as Python's.

/// One layer's cache.
public struct CacheShape: Equatable, Sendable {
    /// Positions that it stores.
    public let slots: Int
    /// Positions that a query sees, its own included.
    public let window: Int
    /// Whether it is a ring.
    public let wraps: Bool

    /// - Throws: `PocketError`: a number below 1, or fewer slots than the window.
    public init(slots: Int, window: Int, wraps: Bool) throws {
        for (name, value) in [("slots", slots), ("window", window)] where value < 1 {
            throw PocketError("\(name) is \(value); it must be at least 1")
        }
        if window > slots {
            throw PocketError("a window of \(window) does not fit into \(slots) slots; give it that many slots")
        }
        self.slots = slots
        self.window = window
        self.wraps = wraps
    }

    /// The most tokens that may be written at once without hiding a position that one of them sees.
    public var maxChunk: Int { wraps ? slots - window + 1 : slots }

    /// The cache of a layer, by the rule in docs/architecture.md.
    ///
    /// - Parameters:
    ///   - kind: a local layer sees `window` positions, a global one `context`.
    ///   - chunk: the most tokens written in one step.
    /// - Throws: `PocketError`: a number below 1, or an unknown kind.
    public static func of(kind: String, window: Int, chunk: Int, context: Int, isEndless: Bool) throws -> CacheShape {
        if chunk < 1 { throw PocketError("chunk is \(chunk); it must be at least 1") }
        if kind == "local" { return try CacheShape(slots: window + chunk - 1, window: window, wraps: true) }
        if kind != "global" {
            throw PocketError("unknown layer kind \(Shown.repr(kind)); it is 'local' or 'global'")
        }
        if isEndless { return try CacheShape(slots: context + chunk - 1, window: context, wraps: true) }
        return try CacheShape(slots: context, window: context, wraps: false)
    }
}

public enum Ring {
    /// In `positionsHeld`: nothing was written to this slot yet.
    public static let empty = -1

    /// The slots that the tokens at `position ... position + count - 1` are written to.
    ///
    /// - Throws: `PocketError`: a negative number, or more tokens than slots (they would overwrite each other).
    public static func slotsOf(position: Int, count: Int, slots: Int) throws -> [Int] {
        if position < 0 || count < 0 || slots < 1 {
            throw PocketError(
                "position \(position), count \(count) and slots \(slots) must be >= 0, >= 0 and >= 1")
        }
        if count > slots {
            throw PocketError("\(count) tokens do not fit into \(slots) slots at once; write them in smaller chunks")
        }
        return (0..<count).map { (position + $0) % slots }
    }

    /// For each slot the position that it holds once positions `0 ..< end` were written, or `empty`.
    ///
    /// - Throws: `PocketError`: a negative number of positions, or no slot.
    public static func positionsHeld(end: Int, slots: Int) throws -> [Int] {
        if end < 0 || slots < 1 { throw PocketError("end \(end) and slots \(slots) must be >= 0 and >= 1") }
        if end == 0 { return Array(repeating: empty, count: slots) }
        let last = end - 1
        let newest = last % slots
        return (0..<slots).map { max(empty, last - (newest - $0 + slots) % slots) }
    }

    /// The positions that a query at `position` sees, its own included.
    ///
    /// - Throws: `PocketError`: a negative position, or a window below 1.
    public static func visiblePositions(position: Int, window: Int) throws -> ClosedRange<Int> {
        if position < 0 || window < 1 {
            throw PocketError("position \(position) and window \(window) must be >= 0 and >= 1")
        }
        return max(0, position - window + 1)...position
    }

    /// The attention mask of a chunk, read after the chunk was written: one row a query, one column a slot.
    ///
    /// - Throws: `PocketError`: the chunk is larger than the cache allows, or it passes the end of a cache that does
    ///   not wrap.
    public static func visibleSlots(position: Int, count: Int, shape: CacheShape) throws -> [[Bool]] {
        if count > shape.maxChunk {
            throw PocketError(
                "a chunk of \(count) tokens needs \(shape.window + count - 1) slots for a window of \(shape.window), "
                    + "but there are \(shape.slots); write at most \(shape.maxChunk) tokens at once")
        }
        if !shape.wraps, position + count > shape.slots {
            throw PocketError(
                "positions \(position) to \(position + count - 1) pass the end of a cache of \(shape.slots) positions "
                    + "that does not wrap; start a new chat")
        }
        let held = try positionsHeld(end: position + count, slots: shape.slots)
        return try (position..<position + count).map { query in
            let seen = try visiblePositions(position: query, window: shape.window)
            return held.map(seen.contains)
        }
    }
}
