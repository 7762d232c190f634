// What goes wrong, as a sentence for the user.
import Foundation

/// Why something was not done: the sentence for the user with a next step, and its key in the table.
public struct Refusal: Equatable, Sendable {
    /// nil: a sentence of the chat's own units.
    public let key: SentenceKey?
    public let text: String

    public init(key: SentenceKey?, text: String) {
        self.key = key
        self.text = text
    }

    /// A sentence of the table with its places filled in.
    public init(_ key: SentenceKey, _ values: [String: String] = [:]) {
        self.init(key: key, text: Sentences.text(key, values))
    }
}

/// A failure whose text is a sentence for the user: what was given, what is allowed, what to do.
public struct PocketError: LocalizedError, Equatable, Sendable {
    /// What a caller may want to tell apart.
    public enum Kind: Equatable, Sendable {
        case general
        /// What should be sent does not fit into a bounded context; nothing was sent.
        case contextFull
    }

    public let text: String
    public let key: SentenceKey?
    public let kind: Kind

    public init(_ text: String, key: SentenceKey? = nil, kind: Kind = .general) {
        self.text = text
        self.key = key
        self.kind = kind
    }

    public init(_ refusal: Refusal) {
        self.init(refusal.text, key: refusal.key)
    }

    public var errorDescription: String? { text }
}

extension Refusal {
    /// Whatever went wrong, as the screen shows it.
    ///
    /// - Parameter otherwise: the sentence of an error that is not our own: it has the place {reason}.
    public init(_ error: any Error, otherwise: SentenceKey = .storageFailed) {
        switch error {
        case let error as PocketError where error.key == nil:
            self.init(key: nil, text: Sentences.asSentence(error.text))
        case let error as PocketError:
            self.init(key: error.key, text: error.text)
        case let error as RunnerFailure:
            self = EngineError.refusal(error)
        default:
            self.init(otherwise, ["reason": Self.reason(error.localizedDescription)])
        }
    }

    /// Another's words in the middle of a sentence: without the stop at their end.
    static func reason(_ words: String) -> String {
        var reason = words.trimmingCharacters(in: .whitespacesAndNewlines)
        while reason.hasSuffix(".") { reason.removeLast() }
        return reason.isEmpty ? "no reason was given" : reason
    }
}
