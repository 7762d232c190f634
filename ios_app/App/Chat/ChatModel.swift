// The chat as the screen sees it: the state that the core's worker is in, and what the user may ask of it.
import Foundation
import Observation
import PocketCore
import UIKit

@MainActor @Observable
final class ChatModel {
    private(set) var state = ChatState.empty
    private(set) var loading = LoadProgress.mapping

    @ObservationIgnored private let worker: ChatWorker
    @ObservationIgnored private let settings: SettingsStore
    @ObservationIgnored private let onState: @MainActor (ChatState) -> Void

    /// - Parameters:
    ///   - chats: the folder that holds a file for each package's chat.
    ///   - onState: called on the main thread after each change.
    ///   - onNotice: told on the main thread what went wrong beside the chat.
    init(
        library: PackageLibrary, chats: URL, factory: @escaping EngineFactory, settings: SettingsStore,
        onState: @escaping @MainActor (ChatState) -> Void, onNotice: @escaping @MainActor @Sendable (Refusal) -> Void
    ) {
        self.settings = settings
        self.onState = onState
        let target = Weak<ChatModel>()
        worker = ChatWorker(
            factory: factory, find: library.find, historyFolder: chats, settings: settings.load,
            onState: { state in onMain { target.value?.take(state) } },
            onNotice: { notice in onMain { onNotice(notice) } })
        target.value = self
    }

    /// Runs a task on the engine's thread after the chat's model is gone, for two models rarely fit.
    func executeAlone(_ task: @escaping @Sendable () -> Void) {
        send(.packageClosed)
        execute(task)
    }

    /// Runs a task on the engine's thread after everything that was asked of it before.
    func execute(_ task: @escaping @Sendable () -> Void) {
        worker.execute(task)
    }

    /// Loads the package unless it is the open one.
    func open(_ id: PackageId) {
        switch state {
        case .loadFailed(id, _): break
        default: load(id)
        }
    }

    /// Loads the package, also after a failure or after it was let go.
    func load(_ id: PackageId) {
        send(.packageOpened(id))
    }

    func send(_ event: ChatEvent) {
        worker.send(event)
    }

    func settings(of id: PackageId) -> ChatSettings {
        settings.load(id)
    }

    func change(_ value: ChatSettings, of id: PackageId) {
        settings.save(value, of: id)
        send(.settingsChanged(value))
    }

    func show(_ progress: LoadProgress) {
        loading = progress
    }

    private func take(_ new: ChatState) {
        let old = state
        state = new
        if case .loading = old, case .loading = new {} else { loading = .mapping }
        announce(from: old, to: new)
        onState(new)
    }

    /// VoiceOver reads a reply when it is whole, not piece by piece.
    private func announce(from old: ChatState, to new: ChatState) {
        switch (old, new) {
        case (.replying, .idle(let chat)), (.cancelling, .idle(let chat)):
            guard let last = chat.messages.last, last.role == "assistant" else { return }
            UIAccessibility.post(notification: .announcement, argument: last.content)
        default: break
        }
    }
}

/// A reference that does not keep its target; set and read on the main thread only.
@MainActor
private final class Weak<Target: AnyObject> {
    weak var value: Target?
}
