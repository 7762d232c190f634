// The newest lines of what the app did, to be read and shared from the phone.
import Foundation
import Observation
import PocketCore

@MainActor @Observable
final class LogStore {
    struct Line: Identifiable, Equatable {
        let id: Int
        let time: Date
        let text: String
    }

    static let capacity = 1000
    private(set) var lines: [Line] = []
    @ObservationIgnored private var nextId = 0
    @ObservationIgnored private var runtime: RuntimeLog?

    func add(_ text: String) {
        lines.append(Line(id: nextId, time: Date(), text: text))
        nextId += 1
        if lines.count > Self.capacity { lines.removeFirst(lines.count - Self.capacity) }
    }

    /// One line for a state that a person would ask about later; text that arrives is no such state.
    func add(_ state: ChatState) {
        switch state {
        case .loading(let id): add("loading \(id.short)")
        case .loadFailed(_, let refusal): add("not loaded: \(refusal.text)")
        case .unloaded(_, let reason): add("the model was let go: \(reason.rawValue)")
        case .restoring: add("the chat is read again")
        case .idle(let chat):
            if let refusal = chat.refusal { add(refusal.text) }
            if let statistics = chat.statistics { add("reply: \(statistics)") }
        case .empty, .prefilling, .replying, .cancelling: break
        }
    }

    /// Takes the runtime's own lines too.
    func listenToRuntime() {
        guard runtime == nil else { return }
        runtime = RuntimeLog { [weak self] text in
            onMain { [weak self] in self?.add(text) }
        }
    }

    var text: String {
        lines.map { "\($0.time.formatted(.iso8601)) \($0.text)" }.joined(separator: "\n")
    }
}
