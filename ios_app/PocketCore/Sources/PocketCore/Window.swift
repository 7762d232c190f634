// Counts a conversation's tokens: what the model still sees, how much room is left, what a saved chat may bring back.

/// Where the "older messages are forgotten" line belongs.
public struct Mark: Equatable, Sendable {
    /// The oldest position that the next token sees.
    public var firstVisiblePosition: Int
    /// The oldest turn of which something is seen.
    public var firstVisibleTurn: Int
    /// Whether that turn's beginning is out of sight.
    public var isPartial: Bool

    /// Of a chat without a turn.
    public static let start = Mark(firstVisiblePosition: 0, firstVisibleTurn: 0, isPartial: false)

    public init(firstVisiblePosition: Int, firstVisibleTurn: Int, isPartial: Bool) {
        self.firstVisiblePosition = firstVisiblePosition
        self.firstVisibleTurn = firstVisibleTurn
        self.isPartial = isPartial
    }
}
