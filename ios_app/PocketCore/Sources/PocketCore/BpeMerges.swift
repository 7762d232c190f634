// The merges of byte-level BPE: a word's bytes become symbols, and the pair of the lowest rank is joined, again and
// again.

struct BpeMerges {
    private struct Pair: Hashable {
        let left: Int
        let right: Int
    }

    private struct Merge {
        let rank: Int
        let id: Int
    }

    /// The symbol of each byte; nil where the vocabulary lacks it.
    private let symbols: [Int?]
    private var merges: [Pair: Merge] = [:]
    /// Whole words, where the vocabulary comes before the merges.
    private var words: [[UInt8]: Int] = [:]

    /// - Parameters:
    ///   - ids: of the vocabulary's texts, in the byte-level alphabet.
    ///   - ignoresMerges: whether a whole word that is a token needs no merges.
    /// - Throws: `PocketError`: a merge of what is no token.
    init(ids: [ByteKey: Int], merges items: [JsonValue], ignoresMerges: Bool) throws {
        symbols = ByteLevel.characters.map { ids[ByteKey($0)] }
        merges.reserveCapacity(items.count)
        for (rank, item) in items.enumerated() {
            guard let (left, right) = Self.pair(item), let first = ids[ByteKey(left)],
                let second = ids[ByteKey(right)], let joined = ids[ByteKey(left + right)]
            else { throw Bpe.unknown("merges") }
            merges[Pair(left: first, right: second)] = Merge(rank: rank, id: joined)
        }
        if ignoresMerges {
            for (key, id) in ids where ByteLevel.spells(key.text) { words[ByteLevel.bytes(key.text)] = id }
        }
    }

    /// "a b", or ["a", "b"] in newer files.
    private static func pair(_ item: JsonValue) -> (String, String)? {
        if let items = item.items, items.count == 2, let left = items[0].text, let right = items[1].text {
            return (left, right)
        }
        guard let text = item.text?.utf8, let space = text.firstIndex(of: 0x20) else { return nil }
        let rest = text[text.index(after: space)...]
        if rest.contains(0x20) { return nil }
        return (String(decoding: text[..<space], as: UTF8.self), String(decoding: rest, as: UTF8.self))
    }

    /// Appends the ids of one word.
    func encode(_ word: [UInt8], into ids: inout [Int]) {
        if let id = words[word] {
            ids.append(id)
            return
        }
        var symbols = word.compactMap { self.symbols[Int($0)] }
        if symbols.count > 1 { join(&symbols) }
        ids += symbols
    }

    /// A candidate: the pair that begins at a place, as it was when it was found.
    private struct Candidate {
        let rank: Int
        let at: Int
        let pair: Pair
        let id: Int

        func precedes(_ other: Candidate) -> Bool { rank != other.rank ? rank < other.rank : at < other.at }
    }

    /// Lowest rank first, of equals the leftmost; a heap, because a word may be a whole page without a space.
    private func join(_ symbols: inout [Int]) {
        let gone = -1
        var next = Array(1...symbols.count)
        var previous = Array(-1..<symbols.count - 1)
        var heap = Heap<Candidate> { $0.precedes($1) }
        func consider(_ at: Int, _ symbols: [Int]) {
            guard at >= 0, next[at] < symbols.count else { return }
            let pair = Pair(left: symbols[at], right: symbols[next[at]])
            if let merge = merges[pair] { heap.push(Candidate(rank: merge.rank, at: at, pair: pair, id: merge.id)) }
        }
        for at in symbols.indices { consider(at, symbols) }
        while let best = heap.pop() {
            let right = next[best.at]
            guard right < symbols.count, best.pair == Pair(left: symbols[best.at], right: symbols[right])
            else { continue }
            symbols[best.at] = best.id
            symbols[right] = gone
            next[best.at] = next[right]
            if next[right] < symbols.count { previous[next[right]] = best.at }
            consider(previous[best.at], symbols)
            consider(best.at, symbols)
        }
        symbols.removeAll { $0 == gone }
    }
}

/// A binary heap.
struct Heap<Element> {
    private var items: [Element] = []
    private let precedes: (Element, Element) -> Bool

    init(_ precedes: @escaping (Element, Element) -> Bool) {
        self.precedes = precedes
    }

    mutating func push(_ item: Element) {
        items.append(item)
        var at = items.count - 1
        while at > 0, precedes(items[at], items[(at - 1) / 2]) {
            items.swapAt(at, (at - 1) / 2)
            at = (at - 1) / 2
        }
    }

    mutating func pop() -> Element? {
        guard let first = items.first, let last = items.popLast() else { return nil }
        if items.isEmpty { return first }
        items[0] = last
        var at = 0
        while true {
            var least = at
            for child in [2 * at + 1, 2 * at + 2] where child < items.count && precedes(items[child], items[least]) {
                least = child
            }
            if least == at { return first }
            items.swapAt(at, least)
            at = least
        }
    }
}
