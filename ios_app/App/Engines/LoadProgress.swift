// How far the loading of a model is, as far as anyone can know.
import Foundation

/// Core ML gives no percentage, so its progress is counted in methods: the compiler's work is behind each one's load.
enum LoadProgress: Equatable, Sendable {
    /// The file is mapped; seconds at most.
    case mapping
    /// Method `number` of `count` is being made ready; `isFirst`: iOS has not compiled it on this system yet.
    case method(number: Int, count: Int, isFirst: Bool)
}

/// Remembers which packages iOS has compiled, so that the notice of the first time is shown only then.
///
/// Core ML keeps its result until the system is updated: the mark holds the system's version.
struct CompiledMarks: @unchecked Sendable {  // UserDefaults is safe on every thread
    let defaults: UserDefaults
    let system: String

    func isCompiled(_ package: String) -> Bool {
        defaults.string(forKey: key(package)) == system
    }

    func setCompiled(_ package: String) {
        defaults.set(system, forKey: key(package))
    }

    private func key(_ package: String) -> String { "compiled.\(package)" }
}
