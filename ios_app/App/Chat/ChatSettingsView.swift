// System prompt, temperature and the longest reply of a package's chats.
import PocketCore
import SwiftUI

struct ChatSettingsView: View {
    nonisolated static let budgets = [64, 256, 512, 1024, 2048, 4096]

    let package: InstalledPackage
    @State var settings: ChatSettings
    let onChange: @MainActor (ChatSettings) -> Void
    @Environment(\.dismiss) private var dismiss

    var body: some View {
        NavigationStack {
            Form {
                if package.takesSystemMessage {
                    Section {
                        TextEditor(text: system)
                            .frame(minHeight: 100)
                            .accessibilityLabel(Text("System prompt"))
                    } header: {
                        Text("System prompt")
                    } footer: {
                        Text("The chat is read again with it. Empty: the package's own.")
                    }
                }
                Section {
                    Slider(value: $settings.temperature, in: 0...1, step: 0.05) { Text("Temperature") }
                    LabeledContent(
                        "Temperature", value: settings.temperature.formatted(.number.precision(.fractionLength(2))))
                } footer: {
                    Text("0 always takes the likeliest token; 1 draws as the model was trained.")
                }
                Section {
                    Picker("Longest reply", selection: $settings.budget) {
                        ForEach(Self.budgets, id: \.self) { Text("\($0) tokens").tag($0) }
                    }
                }
            }
            .navigationTitle("Settings")
            .navigationBarTitleDisplayMode(.inline)
            .toolbar {
                ToolbarItem(placement: .confirmationAction) {
                    Button("Done") {
                        onChange(settings)
                        dismiss()
                    }
                }
                ToolbarItem(placement: .cancellationAction) {
                    Button("Cancel") { dismiss() }
                }
            }
        }
    }

    private var system: Binding<String> {
        Binding(get: { settings.system ?? "" }, set: { settings.system = $0.isEmpty ? nil : $0 })
    }
}
