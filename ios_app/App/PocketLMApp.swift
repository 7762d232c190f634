// The app: one window.
import PocketCore
import SwiftUI

@main
struct PocketLMApp: App {
    @State private var start = AppModel.live()
    @Environment(\.scenePhase) private var phase

    var body: some Scene {
        WindowGroup {
            switch start {
            case .success(let app):
                RootView(app: app)
                    .onOpenURL { app.library.open($0) }
                    .task { app.watchSystem() }
            case .failure(let error):
                ContentUnavailableView {
                    Label("The app's storage cannot be used", systemImage: "externaldrive.badge.xmark")
                } description: {
                    Text(verbatim: error.localizedDescription)
                }
            }
        }
        .onChange(of: phase) { _, new in
            if case .success(let app) = start { app.phaseChanged(to: new) }
        }
    }
}
