// Where the user types, with one button: send, or stop while a reply runs.
import SwiftUI

struct Composer: View {
    enum Action {
        case send
        case stop
        /// Stop was tapped and the engine has not ended yet.
        case stopping
        /// Nothing can be sent now.
        case disabled
    }

    @Binding var text: String
    let action: Action
    let onSend: @MainActor () -> Void
    let onStop: @MainActor () -> Void

    var body: some View {
        HStack(alignment: .bottom, spacing: 8) {
            TextField("Message", text: $text, axis: .vertical)
                .lineLimit(1...6)
                .textFieldStyle(.roundedBorder)
                .accessibilityLabel(Text("Message to the model"))
            switch action {
            case .send, .disabled:
                Button(action: onSend) { Label("Send", systemImage: "arrow.up.circle.fill") }
                    .disabled(action == .disabled || text.isEmpty)
                    .keyboardShortcut(.return, modifiers: .command)
            case .stop, .stopping:
                Button(action: onStop) { Label("Stop", systemImage: "stop.circle.fill") }
                    .disabled(action == .stopping)
            }
        }
        .labelStyle(.iconOnly)
        .font(.title2)
        .padding(.horizontal)
        .padding(.vertical, 8)
        .background(.bar)
    }
}
