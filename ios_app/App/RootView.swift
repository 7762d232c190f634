// The first screen and the way to all others.
import PocketCore
import SwiftUI

/// A screen that can be opened from another one.
enum Route: Hashable {
    case package(PackageId)
    case chat(PackageId)
    case selfTest(PackageId)
    case benchmark(PackageId)
    case licence(URL)
    case log
}

struct RootView: View {
    @Bindable var app: AppModel

    var body: some View {
        NavigationStack(path: $app.path) {
            LibraryView(library: app.library, onRemove: app.remove)
                .navigationDestination(for: Route.self) { RouteView(app: app, route: $0) }
        }
    }
}

/// A package may be removed while a screen of it is open.
private struct RouteView: View {
    let app: AppModel
    let route: Route

    var body: some View {
        switch route {
        case .package(let id): withPackage(id) { PackageView(package: $0, app: app) }
        case .chat(let id): withPackage(id) { ChatView(app: app, package: $0) }
        case .selfTest(let id): withPackage(id) { SelfTestView(package: $0, model: app.measures) }
        case .benchmark(let id): withPackage(id) { BenchmarkView(package: $0, model: app.measures) }
        case .licence(let file): LicenceView(file: file)
        case .log: LogView(log: app.log)
        }
    }

    @ViewBuilder private func withPackage<Content: View>(
        _ id: PackageId, @ViewBuilder content: (InstalledPackage) -> Content
    ) -> some View {
        if let package = app.library.package(id) {
            content(package)
        } else {
            ContentUnavailableView("This package was removed", systemImage: "shippingbox")
        }
    }
}
