// The screen of a chat: what was said, what the model still sees, how fast it was, and where to type.
import PocketCore
import SwiftUI

struct ChatView: View {
    let app: AppModel
    let package: InstalledPackage
    @State private var draft = ""
    @State private var isShowingSettings = false

    private var model: ChatModel { app.chat }

    var body: some View {
        content
            .navigationTitle(Text(verbatim: package.title))
            .navigationBarTitleDisplayMode(.inline)
            .toolbar { menu }
            .sheet(isPresented: $isShowingSettings) {
                ChatSettingsView(package: package, settings: model.settings(of: package.id)) {
                    model.change($0, of: package.id)
                }
            }
            .task(id: package.id) { app.openChat(package.id) }
    }

    @ViewBuilder private var content: some View {
        switch model.state {
        case .empty:
            ProgressView()
        case .loading:
            LoadingView(progress: model.loading)
        case .loadFailed(_, let refusal):
            LoadFailedView(refusal: refusal) { model.load(package.id) }
        case .idle(let chat), .prefilling(let chat, _), .replying(let chat, _, _), .cancelling(let chat, _, _),
            .restoring(let chat), .unloaded(let chat, _):
            VStack(spacing: 0) {
                ChatList(rows: chatRows(model.state))
                ChatNotices(state: model.state, chat: chat, package: package, device: app.device) {
                    model.load(package.id)
                } onAnswer: {
                    model.send(.regenerateTapped)
                }
                Composer(text: $draft, action: action, onSend: send) { model.send(.stopTapped) }
            }
        }
    }

    private var action: Composer.Action {
        switch model.state {
        case .idle: .send
        case .prefilling, .replying: .stop
        case .cancelling: .stopping
        case .empty, .loading, .loadFailed, .restoring, .unloaded: .disabled
        }
    }

    @ToolbarContentBuilder private var menu: some ToolbarContent {
        ToolbarItem(placement: .topBarTrailing) {
            Menu {
                Button("New chat", systemImage: "square.and.pencil") { model.send(.newChatTapped) }
                Button("Another reply", systemImage: "arrow.clockwise") { model.send(.regenerateTapped) }
                    .disabled(!canRegenerate)
                Button("Copy chat", systemImage: "doc.on.doc") { Clipboard.copy(transcript) }
                Button("Settings", systemImage: "slider.horizontal.3") { isShowingSettings = true }
            } label: {
                Label("Chat menu", systemImage: "ellipsis.circle")
            }
        }
    }

    private var canRegenerate: Bool {
        if case .idle(let chat) = model.state { chat.messages.last?.role == "assistant" } else { false }
    }

    private var transcript: String {
        (model.state.chat?.messages ?? []).map { "\($0.role): \($0.content)" }.joined(separator: "\n\n")
    }

    private func send() {
        model.send(.sent(draft))
        draft = ""
    }
}

/// The rows, with the newest in sight while text arrives.
private struct ChatList: View {
    let rows: [ChatRow]

    var body: some View {
        ScrollViewReader { proxy in
            ScrollView {
                LazyVStack(alignment: .leading, spacing: 14) {
                    ForEach(rows) { row in
                        ChatRowView(row: row).id(row.id)
                    }
                }
                .padding()
            }
            .defaultScrollAnchor(.bottom)
            .scrollDismissesKeyboard(.interactively)
            .onChange(of: rows.last) { _, last in
                if let last { proxy.scrollTo(last.id, anchor: .bottom) }
            }
        }
        .overlay {
            if rows.isEmpty { ContentUnavailableView("No messages yet", systemImage: "bubble.left") }
        }
    }
}

private struct LoadingView: View {
    let progress: LoadProgress

    var body: some View {
        LoadingLines(progress: progress).padding(32).frame(maxWidth: 480, maxHeight: .infinity)
    }
}

/// How far the loading is, with the notice of Core ML's first time.
struct LoadingLines: View {
    let progress: LoadProgress

    var body: some View {
        VStack(spacing: 16) {
            switch progress {
            case .mapping:
                ProgressView()
                Text("Loading the model…")
            case .method(let number, let count, let isFirst):
                ProgressView(value: Double(number - 1), total: Double(count))
                    .accessibilityLabel(Text("Loading"))
                Text("Core ML prepares part \(number) of \(count)…")
                if isFirst {
                    Text(
                        "The first time this takes minutes. iOS compiles the model for this device and keeps it."
                    )
                    .font(.footnote)
                    .foregroundStyle(.secondary)
                }
            }
        }
        .multilineTextAlignment(.center)
    }
}

private struct LoadFailedView: View {
    let refusal: Refusal
    let onRetry: @MainActor () -> Void

    var body: some View {
        ContentUnavailableView {
            Label("The model was not loaded", systemImage: "exclamationmark.triangle")
        } description: {
            Text(verbatim: refusal.text)
        } actions: {
            Button("Try again", action: onRetry).buttonStyle(.borderedProminent)
        }
    }
}
