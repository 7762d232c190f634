// What stands between the conversation and the field to type in: refusals, notes, figures, the device's state.
import PocketCore
import SwiftUI

struct ChatNotices: View {
    let state: ChatState
    let chat: Chat
    let package: InstalledPackage
    let device: Device
    let onReload: @MainActor () -> Void
    let onAnswer: @MainActor () -> Void

    var body: some View {
        VStack(alignment: .leading, spacing: 6) {
            switch state {
            case .unloaded(_, let reason):
                Notice(text: unloadedSentence(reason), image: "moon.zzz")
                if reason != .background {
                    Button("Load again", action: onReload).buttonStyle(.bordered)
                }
            case .restoring:
                HStack {
                    ProgressView()
                    Text("Reading the chat again…").font(.footnote)
                }
                .accessibilityElement(children: .combine)
            case .idle(let chat) where chat.messages.last?.role == "user":
                Button("Answer the last message", action: onAnswer).buttonStyle(.bordered)
            case .empty, .loading, .loadFailed, .idle, .prefilling, .replying, .cancelling:
                EmptyView()
            }
            if chat.messages.isEmpty {
                ForEach(package.chatNotices, id: \.self) { Notice(text: $0, image: "info.circle") }
            }
            if let refusal = chat.refusal { Notice(text: refusal.text, image: "exclamationmark.triangle") }
            if !chat.note.isEmpty { Notice(text: chat.note, image: "info.circle") }
            if device.heat == .serious {
                Notice(text: String(localized: "This device is hot, so replies are slower."), image: "thermometer.high")
            }
            if let statistics = chat.statistics { StatisticsLine(statistics: statistics, device: device) }
        }
        .padding(.horizontal)
        .padding(.vertical, 4)
        .frame(maxWidth: .infinity, alignment: .leading)
    }
}

/// Why the model is out of memory, in the core's words.
func unloadedSentence(_ reason: UnloadReason) -> String {
    switch reason {
    case .memory: Sentences.text(.unloadedMemory)
    case .background: Sentences.text(.unloadedBackground)
    case .thermal: Sentences.text(.unloadedThermal)
    }
}

struct Notice: View {
    let text: String
    let image: String

    var body: some View {
        Label {
            Text(verbatim: text)
        } icon: {
            Image(systemName: image)
        }
        .font(.footnote)
        .accessibilityElement(children: .combine)
    }
}

/// Tokens a second, time to the first token, and the memory that the app may still take.
private struct StatisticsLine: View {
    let statistics: Statistics
    let device: Device

    var body: some View {
        Text(verbatim: statisticsText(statistics, freeBytes: device.availableBytes()))
            .font(.caption.monospacedDigit())
            .foregroundStyle(.secondary)
    }
}

/// The figures that there are, in one line; the device's own number format.
func statisticsText(_ statistics: Statistics, freeBytes: Int64) -> String {
    var parts: [String] = []
    if let speed = statistics.decodeTokensPerS {
        parts.append(String(localized: "\(decimal(speed)) tokens/s"))
    }
    if let first = statistics.timeToFirstTokenS {
        parts.append(String(localized: "first token after \(decimal(first)) s"))
    }
    parts.append(String(localized: "\(statistics.newTokens) tokens"))
    parts.append(String(localized: "\(Sentences.size(freeBytes)) free"))
    return parts.joined(separator: " · ")
}

/// One digit behind the point, as the device writes numbers.
func decimal(_ value: Double) -> String {
    value.formatted(.number.precision(.fractionLength(1)))
}
