// The packages on the device, what is being brought in, and the ways to bring in more.
import PocketCore
import SwiftUI
import UniformTypeIdentifiers

struct LibraryView: View {
    let library: LibraryModel
    let onRemove: @MainActor (PackageId) -> Void
    @State private var isChoosing = false
    @State private var isAskingForAddress = false

    var body: some View {
        List {
            Section {
                ForEach(library.packages) { package in
                    NavigationLink(value: Route.package(package.id)) {
                        PackageRow(package: package, verdict: library.verdict(package))
                    }
                }
                .onDelete { offsets in
                    for id in offsets.map({ library.packages[$0].id }) { onRemove(id) }
                }
            }
            if !library.work.isEmpty {
                Section("Under way") {
                    ForEach(library.work) { WorkRow(work: $0, library: library) }
                }
            }
            if !library.waiting.isEmpty {
                Section {
                    ForEach(library.waiting, id: \.self) { url in
                        HStack {
                            Text(verbatim: url.lastPathComponent)
                            Spacer()
                            Button("Install") { library.install(waiting: url) }.buttonStyle(.bordered)
                        }
                    }
                } header: {
                    Text("In the app's folder")
                } footer: {
                    Text("Put there with Finder, a cable or the Files app. They are moved, not copied.")
                }
            }
        }
        .overlay {
            if library.isEmpty { NoPackagesView { isChoosing = true } }
        }
        .navigationTitle("Packages")
        .toolbar { toolbar }
        .refreshable { library.refresh() }
        .fileImporter(isPresented: $isChoosing, allowedContentTypes: [.zip, .folder]) { result in
            library.choose(result)
        }
        .sheet(isPresented: $isAskingForAddress) {
            AddressView { library.download($0) }
        }
        .alert("That did not work", isPresented: isRefused, presenting: library.refusal) { _ in
            Button("OK") { library.forgetRefusal() }
        } message: {
            Text(verbatim: $0.text)
        }
    }

    private var isRefused: Binding<Bool> {
        Binding(get: { library.refusal != nil }, set: { if !$0 { library.forgetRefusal() } })
    }

    @ToolbarContentBuilder private var toolbar: some ToolbarContent {
        ToolbarItem(placement: .topBarLeading) {
            NavigationLink(value: Route.log) { Label("Log", systemImage: "text.alignleft") }
        }
        ToolbarItem(placement: .topBarTrailing) {
            Menu {
                Button("Choose a file or folder", systemImage: "folder") { isChoosing = true }
                Button("Download from an address", systemImage: "arrow.down.circle") { isAskingForAddress = true }
            } label: {
                Label("Add a package", systemImage: "plus")
            }
        }
    }
}

private struct NoPackagesView: View {
    let onChoose: @MainActor () -> Void

    var body: some View {
        ContentUnavailableView {
            Label("No package yet", systemImage: "shippingbox")
        } description: {
            Text("Make one with “pocketlm export”, then choose its zip or folder, or copy it here with Finder.")
        } actions: {
            Button("Choose a file or folder", action: onChoose).buttonStyle(.borderedProminent)
        }
    }
}

struct PackageRow: View {
    let package: InstalledPackage
    let verdict: MemoryVerdict

    var body: some View {
        HStack {
            VStack(alignment: .leading, spacing: 2) {
                Text(verbatim: package.title).font(.headline)
                Text(verbatim: package.subtitle).font(.subheadline).foregroundStyle(.secondary)
            }
            Spacer(minLength: 8)
            switch verdict {
            case .fits: EmptyView()
            case .tight: Image(systemName: "exclamationmark.circle").accessibilityLabel(Text("Memory is tight"))
            case .tooLarge: Image(systemName: "xmark.circle").accessibilityLabel(Text("Too large for this device"))
            }
        }
        .accessibilityElement(children: .combine)
    }
}

/// Asks for the address of a package.zip.
private struct AddressView: View {
    let onDownload: @MainActor (String) -> Void
    @State private var address = ""
    @Environment(\.dismiss) private var dismiss

    var body: some View {
        NavigationStack {
            Form {
                Section {
                    TextField("https://…/package.zip", text: $address)
                        .keyboardType(.URL)
                        .textInputAutocapitalization(.never)
                        .autocorrectionDisabled()
                        .accessibilityLabel(Text("Address of a package"))
                } footer: {
                    Text("The app uses the network only for this address.")
                }
            }
            .navigationTitle("Download")
            .navigationBarTitleDisplayMode(.inline)
            .toolbar {
                ToolbarItem(placement: .confirmationAction) {
                    Button("Download") {
                        onDownload(address)
                        dismiss()
                    }
                    .disabled(address.isEmpty)
                }
                ToolbarItem(placement: .cancellationAction) {
                    Button("Cancel") { dismiss() }
                }
            }
        }
        .presentationDetents([.medium])
    }
}
