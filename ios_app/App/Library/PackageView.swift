// What a package is, whether it fits, and what can be done with it.
import PocketCore
import SwiftUI

struct PackageView: View {
    let package: InstalledPackage
    let app: AppModel
    @State private var isRemoving = false

    var body: some View {
        List {
            Section {
                NavigationLink(value: Route.chat(package.id)) {
                    Label(
                        package.isCompletionOnly ? "Continue text" : "Chat", systemImage: "bubble.left.and.bubble.right"
                    )
                }
                .disabled(isTooLarge)
                NavigationLink(value: Route.selfTest(package.id)) { Label("Self-test", systemImage: "checkmark.seal") }
                NavigationLink(value: Route.benchmark(package.id)) { Label("Benchmark", systemImage: "speedometer") }
            } footer: {
                switch app.library.verdict(package) {
                case .fits: EmptyView()
                case .tight(let text), .tooLarge(let text): Text(verbatim: text)
                }
            }
            ForEach(package.facts) { group in
                Section(group.title) {
                    ForEach(group.facts) { LabeledContent($0.name, value: $0.value) }
                }
            }
            Section("Licence") {
                ForEach(package.licences, id: \.self) { file in
                    NavigationLink(value: Route.licence(file)) { Text(verbatim: file.lastPathComponent) }
                }
                if package.licences.isEmpty { Text("The package brings no licence file.") }
            }
            Section {
                Button("Remove from this device", role: .destructive) { isRemoving = true }
            }
        }
        .navigationTitle(Text(verbatim: package.title))
        .navigationBarTitleDisplayMode(.inline)
        .confirmationDialog("Remove the package and its chat?", isPresented: $isRemoving, titleVisibility: .visible) {
            Button("Remove", role: .destructive) { app.remove(package.id) }
        }
    }

    private var isTooLarge: Bool {
        if case .tooLarge = app.library.verdict(package) { true } else { false }
    }
}

struct LicenceView: View {
    let file: URL
    @State private var text = ""

    var body: some View {
        ScrollView {
            Text(verbatim: text).font(.footnote.monospaced()).textSelection(.enabled).padding()
        }
        .navigationTitle(Text(verbatim: file.lastPathComponent))
        .task(id: file) {
            text = (try? String(contentsOf: file, encoding: .utf8)) ?? String(localized: "It cannot be read.")
        }
    }
}
