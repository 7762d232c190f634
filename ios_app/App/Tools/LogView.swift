// The log, newest line last, to be shared as text.
import SwiftUI

struct LogView: View {
    let log: LogStore

    var body: some View {
        List(log.lines) { line in
            VStack(alignment: .leading) {
                Text(verbatim: line.text).font(.footnote.monospaced())
                Text(line.time, style: .time).font(.caption2).foregroundStyle(.secondary)
            }
            .accessibilityElement(children: .combine)
        }
        .overlay {
            if log.lines.isEmpty { ContentUnavailableView("Nothing happened yet", systemImage: "text.alignleft") }
        }
        .navigationTitle("Log")
        .toolbar {
            ToolbarItem(placement: .topBarTrailing) {
                ShareLink(item: log.text) { Label("Share log", systemImage: "square.and.arrow.up") }
            }
        }
    }
}
