// The state of a chat's screen as one value, what may happen to it, and what is then to be done. Knows no engine.

/// The lower-case hexadecimal sha256 of a package's manifest.json: with the hashes inside it names the whole package.
public struct PackageId: Hashable, Sendable {
    public let sha256: String

    public init(_ sha256: String) {
        self.sha256 = sha256
    }

    /// The name of its folder: the first 16 digits.
    public var short: String { String(sha256.prefix(16)) }
}

/// What the user may set for a chat.
public struct ChatSettings: Equatable, Sendable {
    /// The system text; nil: the package's own.
    public var system: String?
    /// From 0 (always the likeliest token) to 1.
    public var temperature: Double
    /// The most tokens of one reply.
    public var budget: Int

    public static let defaultTemperature = 0.7

    public init(
        system: String? = nil, temperature: Double = ChatSettings.defaultTemperature, budget: Int = defaultNewTokens
    ) {
        self.system = system
        self.temperature = temperature
        self.budget = budget
    }
}

/// A conversation as the screen shows it.
public struct Chat: Equatable, Sendable {
    public var packageId: PackageId
    /// Whole turns, the system message first if one was given.
    public var messages: [Message]
    /// Where the line "older messages are forgotten" belongs.
    public var mark: Mark
    /// A sentence about the last turn, or "".
    public var note: String
    /// Of the last reply.
    public var statistics: Statistics?
    /// Why the last thing asked for was not done; nil after the next success.
    public var refusal: Refusal?
    public var settings: ChatSettings

    public init(
        packageId: PackageId, messages: [Message] = [], mark: Mark = Mark.start, note: String = "",
        statistics: Statistics? = nil, refusal: Refusal? = nil, settings: ChatSettings = ChatSettings()
    ) {
        self.packageId = packageId
        self.messages = messages
        self.mark = mark
        self.note = note
        self.statistics = statistics
        self.refusal = refusal
        self.settings = settings
    }
}

/// Why the model was taken out of memory; the conversation stays.
public enum UnloadReason: String, Sendable {
    case memory, background, thermal
}

/// Everything that a chat's screen can show.
public enum ChatState: Equatable, Sendable {
    /// No package is open.
    case empty
    case loading(PackageId)
    case loadFailed(PackageId, Refusal)
    /// The user may type.
    case idle(Chat)
    /// The question is being read; no text has come yet.
    case prefilling(Chat, userText: String)
    case replying(Chat, userText: String, soFar: String)
    /// The user has tapped stop and the engine has not ended yet.
    case cancelling(Chat, userText: String, soFar: String)
    /// The conversation is being read into the model again.
    case restoring(Chat)
    /// The model is out of memory; the conversation is still shown.
    case unloaded(Chat, UnloadReason)
}

/// What may happen: from the user, from the worker that owns the engine, from the system.
public enum ChatEvent: Equatable, Sendable {
    case packageOpened(PackageId)
    case packageClosed
    /// With what the disk holds of this package's chat; the last message may be unanswered.
    case loaded(PackageId, messages: [Message], settings: ChatSettings)
    case loadFailed(PackageId, Refusal)
    case sent(String)
    case textArrived(String)
    /// With the session's messages: whole turns.
    case replyEnded(messages: [Message], reply: Reply, mark: Mark, statistics: Statistics?)
    case replyFailed(messages: [Message], refusal: Refusal)
    case stopTapped
    case regenerateTapped
    case newChatTapped
    case settingsChanged(ChatSettings)
    case restored(messages: [Message], mark: Mark, note: String)
    case memoryLow
    case wentToBackground
    case cameToForeground
    case thermalCritical
}

/// What the reducer asks the worker to do, in this order.
public enum ChatEffect: Equatable, Sendable {
    case load(PackageId)
    case unload
    case send(String)
    case regenerate
    /// Asks the running reply to end soon.
    case cancel
    /// Reads whole turns into the model again.
    case restore([Message])
    /// Writes the conversation to disk.
    case save(PackageId, [Message])
    /// Begins a new conversation.
    case reset
}
