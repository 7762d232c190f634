// One row of a chat on the screen.
import PocketCore
import SwiftUI

struct ChatRowView: View {
    let row: ChatRow

    var body: some View {
        switch row.content {
        case .message(let message) where message.role == "user":
            UserMessageView(text: message.content)
        case .message(let message):
            ReplyView(text: message.content, isWritten: true)
        case .reply(let text):
            ReplyView(text: text, isWritten: false)
        case .forgotten(let sentence):
            ForgottenLine(sentence: sentence)
        case .waiting:
            HStack {
                ProgressView()
                Text("Reading…").foregroundStyle(.secondary)
                Spacer(minLength: 0)
            }
            .accessibilityElement(children: .combine)
        }
    }
}

private struct UserMessageView: View {
    let text: String

    var body: some View {
        HStack {
            Spacer(minLength: 40)
            Text(verbatim: text)
                .padding(.horizontal, 14)
                .padding(.vertical, 10)
                .background(Color.accentColor.opacity(0.15), in: RoundedRectangle(cornerRadius: 16))
                .copyMenu(text)
                .accessibilityLabel(Text("You: \(text)"))
        }
    }
}

private struct ReplyView: View {
    let text: String
    /// Whether it is complete: only then markdown is drawn, for half a table or fence looks like neither.
    let isWritten: Bool

    var body: some View {
        HStack {
            Text(isWritten ? inlineMarkdown(text) : AttributedString(text))
                .copyMenu(text)
                .accessibilityLabel(Text("Model: \(text)"))
            Spacer(minLength: 20)
        }
    }
}

private struct ForgottenLine: View {
    let sentence: String

    var body: some View {
        HStack(spacing: 8) {
            Rectangle().fill(.secondary.opacity(0.4)).frame(height: 1)
            Text(verbatim: sentence).font(.footnote).foregroundStyle(.secondary).multilineTextAlignment(.center)
            Rectangle().fill(.secondary.opacity(0.4)).frame(height: 1)
        }
        .accessibilityElement(children: .combine)
    }
}

extension View {
    /// Copy by a long press, and as a named action of VoiceOver.
    fileprivate func copyMenu(_ text: String) -> some View {
        contextMenu {
            Button("Copy", systemImage: "doc.on.doc") { Clipboard.copy(text) }
        }
        .accessibilityAction(named: Text("Copy")) { Clipboard.copy(text) }
    }
}

/// Bold, italics, code and links of one text, white space kept; text that is no markdown stays as it is.
func inlineMarkdown(_ text: String) -> AttributedString {
    let options = AttributedString.MarkdownParsingOptions(interpretedSyntax: .inlineOnlyPreservingWhitespace)
    return (try? AttributedString(markdown: text, options: options)) ?? AttributedString(text)
}
