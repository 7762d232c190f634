// One download or installation that is under way, paused or refused.
import PocketCore
import SwiftUI

struct WorkRow: View {
    let work: Work
    let library: LibraryModel

    var body: some View {
        VStack(alignment: .leading, spacing: 6) {
            Text(verbatim: work.name).font(.headline)
            switch work.step {
            case .downloading(let state): DownloadStateView(state: state)
            case .installing(let state): InstallStateView(state: state)
            }
            HStack {
                if work.canResume { Button("Go on") { library.resume(work) } }
                if work.canPause { Button("Pause") { library.pause(work) } }
                Button(work.isOver ? "Dismiss" : "Stop", role: .destructive) { library.stop(work) }
            }
            .buttonStyle(.bordered)
        }
        .padding(.vertical, 4)
    }
}

private struct DownloadStateView: View {
    let state: DownloadState

    var body: some View {
        switch state {
        case .waiting: ProgressLine(title: Text("Connecting…"), fraction: nil)
        case .receiving(let done, let total):
            ProgressLine(title: Text("Downloading: \(bytesText(done, of: total))"), fraction: fraction(done, total))
        case .paused(let done):
            Notice(text: Sentences.text(.downloadPaused, ["done": Sentences.size(done)]), image: "pause.circle")
        case .finished: ProgressLine(title: Text("Downloaded"), fraction: 1)
        case .refused(let refusal): Notice(text: refusal.text, image: "exclamationmark.triangle")
        }
    }
}

private struct InstallStateView: View {
    let state: InstallState

    var body: some View {
        switch state {
        case .checkingSpace: ProgressLine(title: Text("Checking the package…"), fraction: nil)
        case .unpacking(let done, let total):
            ProgressLine(title: Text("Copying: \(bytesText(done, of: total))"), fraction: fraction(done, total))
        case .verifying(let done, let total):
            ProgressLine(title: Text("Verifying: \(bytesText(done, of: total))"), fraction: fraction(done, total))
        case .moving: ProgressLine(title: Text("Finishing…"), fraction: nil)
        case .installed: ProgressLine(title: Text("Installed"), fraction: 1)
        case .refused(let refusal): Notice(text: refusal.text, image: "exclamationmark.triangle")
        }
    }
}

private struct ProgressLine: View {
    let title: Text
    /// From 0 to 1; nil: not known.
    let fraction: Double?

    var body: some View {
        VStack(alignment: .leading, spacing: 4) {
            title.font(.footnote.monospacedDigit())
            if let fraction { ProgressView(value: fraction) } else { ProgressView().progressViewStyle(.linear) }
        }
        .accessibilityElement(children: .combine)
    }
}

func fraction(_ done: Int64, _ total: Int64?) -> Double? {
    guard let total, total > 0 else { return nil }
    return min(1, max(0, Double(done) / Double(total)))
}

func bytesText(_ done: Int64, of total: Int64?) -> String {
    total.map { "\(Sentences.size(done)) / \(Sentences.size($0))" } ?? Sentences.size(done)
}
