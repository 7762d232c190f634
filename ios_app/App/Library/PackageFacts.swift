// What a manifest says, as lines that a person reads.
import Foundation
import PocketCore

struct Fact: Identifiable, Equatable {
    let name: String
    let value: String
    var id: String { name }
}

struct FactGroup: Identifiable, Equatable {
    let title: String
    let facts: [Fact]
    var id: String { title }
}

extension InstalledPackage {
    /// The preset, or where the checkpoint came from.
    var title: String { manifest.model.preset ?? manifest.model.family }

    /// Size, context and target in one line.
    var subtitle: String { "\(Sentences.size(bytes)) · \(contextText) · \(manifest.target)" }

    var isCompletionOnly: Bool {
        if case .completion = manifest.template { true } else { false }
    }

    /// Whether the runner counts tokens only afterwards: it alone reads this package's tokenizer.
    var countsAreBounds: Bool {
        manifest.tokenizer.kind == .sentencepiece && !isCoreMl
    }

    /// What the user should know before a chat with this package.
    var chatNotices: [String] {
        var notices = isCompletionOnly ? [Sentences.text(.completionOnly)] : []
        if countsAreBounds, manifest.context.kind == .bounded { notices.append(Sentences.text(.countsAreBounds)) }
        return notices
    }

    var takesSystemMessage: Bool {
        if case .chat(let template) = manifest.template { template.roles["system"] != nil } else { false }
    }

    private var contextText: String {
        switch manifest.context.kind {
        case .endless: String(localized: "endless, sees \(manifest.context.tokens) tokens")
        case .bounded: String(localized: "\(manifest.context.tokens) tokens")
        }
    }

    /// Groups in the order of the screen.
    var facts: [FactGroup] {
        [
            FactGroup(
                title: String(localized: "Model"),
                facts: [
                    Fact(name: String(localized: "Family"), value: manifest.model.family),
                    Fact(name: String(localized: "Parameters"), value: manifest.model.parameters.formatted()),
                    Fact(name: String(localized: "Context"), value: contextText),
                    Fact(name: String(localized: "Recipe"), value: manifest.recipe.name),
                    Fact(name: String(localized: "Runs on"), value: processor),
                ]),
            FactGroup(
                title: String(localized: "Size"),
                facts: [
                    Fact(name: String(localized: "Files"), value: Sentences.size(bytes)),
                    Fact(name: String(localized: "Caches"), value: Sentences.size(Int64(manifest.memory.cacheBytes))),
                    Fact(
                        name: String(localized: "Memory at most"),
                        value: Sentences.size(Int64(manifest.memory.estimatedPeakBytes))),
                ]),
            FactGroup(title: String(localized: "Origin"), facts: origin),
        ]
    }

    /// What iOS runs it on; with Core ML the system decides in the end.
    private var processor: String {
        switch manifest.target {
        case "coreml-ane": String(localized: "Neural Engine (Core ML)")
        case "coreml-gpu": String(localized: "GPU (Core ML)")
        default: String(localized: "CPU (\(manifest.target))")
        }
    }

    private var origin: [Fact] {
        [
            Fact(name: "pocketlm", value: manifest.origin.toolVersion),
            Fact(name: String(localized: "Command"), value: manifest.origin.command),
            Fact(name: String(localized: "Checkpoint"), value: String(manifest.origin.checkpointSha256.prefix(16))),
            Fact(name: String(localized: "Package"), value: id.short),
        ] + manifest.origin.versions.sorted { $0.key < $1.key }.map { Fact(name: $0.key, value: $0.value) }
    }
}
