// Runs the golden prompt that the package carries and compares what comes out.
import PocketCore
import SwiftUI

struct SelfTestView: View {
    let package: InstalledPackage
    let model: MeasureModel

    var body: some View {
        List {
            Section {
                LabeledContent("Prompt", value: package.manifest.golden.prompt)
                LabeledContent("Steps compared", value: package.manifest.golden.compared.formatted())
            } footer: {
                Text("The package says what this prompt gave on the machine that made it.")
            }
            Section {
                switch model.selfTest(of: package.id) {
                case nil: EmptyView()
                case .loading: LoadingLines(progress: model.loading)
                case .running(let done, let total):
                    ProgressView(value: Double(done), total: Double(max(total, 1))) { Text("Step \(done) of \(total)") }
                case .passed(_, let text): Notice(text: text, image: "checkmark.seal")
                case .unsure(_, let text): Notice(text: text, image: "info.circle")
                case .failed(_, let text): Notice(text: text, image: "exclamationmark.triangle")
                case .stopped: Text("Stopped")
                }
                if isRunning {
                    Button("Stop") { model.stop() }
                } else {
                    Button("Run the self-test") { model.runSelfTest(package) }
                }
            }
        }
        .navigationTitle("Self-test")
        .navigationBarTitleDisplayMode(.inline)
    }

    private var isRunning: Bool {
        switch model.selfTest(of: package.id) {
        case .loading, .running: true
        case nil, .passed, .unsure, .failed, .stopped: false
        }
    }
}
