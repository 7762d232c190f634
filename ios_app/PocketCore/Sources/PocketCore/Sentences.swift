// Every sentence that the core says to the user, save those of the chat's own units, which are Python's.

/// The key of a sentence in tests/vectors/sentences.json.
public enum SentenceKey: String, CaseIterable, Sendable {
    case cancelled
}

public enum Sentences {
    /// The English text of a key, with its {places} filled in.
    public static func text(_ key: SentenceKey, _ values: [String: String] = [:]) -> String {
        key.rawValue
    }
}
