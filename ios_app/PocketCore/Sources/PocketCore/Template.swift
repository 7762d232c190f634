// How a conversation becomes the text that the model reads: prefixes and suffixes instead of Jinja.

/// One message of a conversation.
public struct Message: Equatable, Sendable {
    /// "system", "user" or "assistant".
    public var role: String
    public var content: String

    public init(role: String, content: String) {
        self.role = role
        self.content = content
    }
}
