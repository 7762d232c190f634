// Measures a package on this device and gives the figures as JSON.
import PocketCore
import SwiftUI

struct BenchmarkView: View {
    let package: InstalledPackage
    let model: MeasureModel

    var body: some View {
        List {
            Section {
                switch model.benchmark(of: package.id) {
                case nil: EmptyView()
                case .loading: LoadingLines(progress: model.loading)
                case .running(let done, let total):
                    ProgressView(value: Double(done), total: Double(max(total, 1))) { Text("Run \(done) of \(total)") }
                case .ended(let report, let note):
                    if !note.isEmpty { Notice(text: note, image: "info.circle") }
                    ExportLink { try model.export(report) }
                case .failed(let refusal): Notice(text: refusal.text, image: "exclamationmark.triangle")
                }
                if isRunning {
                    Button("Stop") { model.stop() }
                } else {
                    Button("Run the benchmark") { model.runBenchmark(package) }
                }
            } footer: {
                Text("A few minutes. Leave the app open; a hot or charging phone is slower.")
            }
            if case .ended(let report, _) = model.benchmark(of: package.id) {
                Section("Medians") {
                    ForEach(report.summary, id: \.promptTokens) { SummaryRow(summary: $0) }
                }
            }
        }
        .navigationTitle("Benchmark")
        .navigationBarTitleDisplayMode(.inline)
    }

    private var isRunning: Bool {
        switch model.benchmark(of: package.id) {
        case .loading, .running: true
        case nil, .ended, .failed: false
        }
    }
}

/// Writes the file when it appears, then offers it.
private struct ExportLink: View {
    let export: @MainActor () throws -> URL
    @State private var file: Result<URL, any Error>?

    var body: some View {
        VStack {
            switch file {
            case nil: ProgressView()
            case .success(let url):
                ShareLink(item: url) { Label("Share figures as JSON", systemImage: "square.and.arrow.up") }
            case .failure(let error): Notice(text: Refusal(error).text, image: "exclamationmark.triangle")
            }
        }
        .task { file = Result { try export() } }
    }
}

private struct SummaryRow: View {
    let summary: BenchmarkReport.Summary

    var body: some View {
        VStack(alignment: .leading, spacing: 2) {
            Text("Prompt of \(summary.promptTokens) tokens").font(.headline)
            Text(verbatim: figures).font(.subheadline.monospacedDigit()).foregroundStyle(.secondary)
        }
        .accessibilityElement(children: .combine)
    }

    private var figures: String {
        var parts: [String] = []
        if let first = summary.timeToFirstTokenS {
            parts.append(String(localized: "first token after \(decimal(first)) s"))
        }
        if let speed = summary.prefillTokensPerS {
            parts.append(String(localized: "prompt \(decimal(speed)) tokens/s"))
        }
        if let speed = summary.decodeTokensPerS {
            parts.append(String(localized: "reply \(decimal(speed)) tokens/s"))
        }
        return parts.joined(separator: " · ")
    }
}
