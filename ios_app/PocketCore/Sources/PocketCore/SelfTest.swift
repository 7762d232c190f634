// Whether a package gives on this device what it gave where it was made: the golden rule of docs/package.md.

/// Where a self-test stands; the last state has the sentence for the user.
public enum SelfTestState: Equatable, Sendable {
    case loading
    /// New tokens so far.
    case running(done: Int, total: Int)
    case passed(SentenceKey, String)
    case unsure(SentenceKey, String)
    case failed(SentenceKey?, String)
    case stopped
}

/// What came of the golden prompt: ids, or bytes of a runner that gives none.
enum GoldenReply {
    case ids([Int])
    case pieces([[UInt8]])
}

/// Loads a package by itself; no other model should be in memory. Runs on the thread that calls it.
public final class SelfTest {
    private let factory: EngineFactory

    public init(factory: @escaping EngineFactory) {
        self.factory = factory
    }

    /// Runs the golden prompt.
    ///
    /// - Parameters:
    ///   - isCancelled: asked after each token.
    ///   - onState: told each state, also the last.
    public func run(
        _ package: InstalledPackage, isCancelled: () -> Bool = { false }, onState: (SelfTestState) -> Void
    ) -> SelfTestState {
        onState(.loading)
        let last: SelfTestState
        do {
            let engine = try factory(package)
            defer { engine.close() }
            try engine.load()
            engine.temperature = 0
            last = try run(engine, package.manifest, isCancelled, onState)
        } catch {
            let refusal = Refusal(error, otherwise: .engineFailed)
            last = .failed(refusal.key, refusal.text)
        }
        onState(last)
        return last
    }

    private func run(
        _ engine: any LlmEngine, _ manifest: Manifest, _ isCancelled: () -> Bool, _ onState: (SelfTestState) -> Void
    ) throws -> SelfTestState {
        let golden = manifest.golden
        let total = golden.ids.count
        var (ids, pieces, isStopped): ([Int], [[UInt8]], Bool) = ([], [], false)
        func count(_ done: Int) {
            onState(.running(done: done, total: total))
            if isCancelled() {
                isStopped = true
                engine.stop()
            }
        }
        count(0)
        try engine.reset()
        if let engine = engine as? any IdEngine {
            try engine.generate(golden.promptIds, maxNewTokens: total) { id in
                ids.append(id)
                count(ids.count)
            }
        } else {
            // The prompt begins with the text that the engine puts before a first one.
            let own = golden.prompt.utf8.dropFirst(manifest.tokenizer.bosText.utf8.count)
            let prompt = String(decoding: own, as: UTF8.self)
            try engine.stream(prompt, first: true, maxNewTokens: total) { piece in
                pieces.append(piece.data)
                count(pieces.count)
            }
        }
        if isStopped { return .stopped }
        return Self.judge(golden, engine is any IdEngine ? .ids(ids) : .pieces(pieces))
    }

    static func judge(_ golden: Manifest.Golden, _ reply: GoldenReply) -> SelfTestState {
        judge(compared: golden.compared, ids: golden.ids, text: golden.text, reply)
    }

    /// - Parameters:
    ///   - compared: leading steps that must be equal.
    ///   - ids: of all steps.
    ///   - text: the compared ids decoded.
    static func judge(compared: Int, ids: [Int], text: String, _ reply: GoldenReply) -> SelfTestState {
        if compared == 0 { return .unsure(.selfTestUnsure, Sentences.text(.selfTestUnsure)) }
        switch reply {
        case .ids(let found): return judge(compared: compared, ids: ids, found: found)
        case .pieces(let pieces): return judge(compared: compared, text: text, pieces: pieces)
        }
    }

    private static func judge(compared: Int, ids: [Int], found: [Int]) -> SelfTestState {
        let differing = zip(ids, found).enumerated().first { $1.0 != $1.1 }
        if let (index, (wanted, given)) = differing, index < compared {
            let places = ["step": String(index + 1), "found": String(given), "wanted": String(wanted)]
            return failed(.selfTestFailedIds, places)
        }
        if found.count < compared {
            return failed(.selfTestShort, ["found": String(found.count), "wanted": String(compared)])
        }
        if let index = differing?.offset {
            return passed(.selfTestPassedLater, ["compared": String(compared), "step": String(index + 1)])
        }
        return passed(.selfTestPassed, ["compared": String(compared)])
    }

    /// The pieces joined begin with the golden text. Where that ends inside a character, U+FFFD stands for the rest.
    private static func judge(compared: Int, text: String, pieces: [[UInt8]]) -> SelfTestState {
        var joiner = Utf8Joiner()
        let found = (pieces.map { joiner.push($0) }.joined() + joiner.flush()).unicodeScalars
        var wanted = Array(text.unicodeScalars)
        while wanted.last == "\u{FFFD}" { wanted.removeLast() }
        if found.starts(with: wanted) { return passed(.selfTestPassed, ["compared": String(compared)]) }
        func spelled(_ scalars: some Sequence<Unicode.Scalar>) -> String {
            var view = String.UnicodeScalarView()
            view.append(contentsOf: scalars)
            return String(view)
        }
        return failed(
            .selfTestFailedText, ["found": spelled(found.prefix(wanted.count)), "wanted": spelled(wanted)])
    }

    private static func passed(_ key: SentenceKey, _ places: [String: String]) -> SelfTestState {
        .passed(key, Sentences.text(key, places))
    }

    private static func failed(_ key: SentenceKey, _ places: [String: String]) -> SelfTestState {
        .failed(key, Sentences.text(key, places))
    }
}
