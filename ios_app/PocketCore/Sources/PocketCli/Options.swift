// The program's arguments; see tests/apps/app_program.py.
import Foundation
import PocketCore

/// Something that this program was told wrongly.
struct Misuse: LocalizedError {
    let text: String

    var errorDescription: String? { text }
}

struct Options {
    var packages = URL(fileURLWithPath: ".")
    var chats = URL(fileURLWithPath: ".")
    var platform = Platform(runnerKinds: ["text-llm"], hasCoreMl: false, runtime: "1.5.1")
    /// Whether the text runner's tokens are counted, or bounded.
    var countsExactly = true
    /// Whether text-llm packages run by their methods and our own tokenizer, in place of the text runner.
    var runsModule = false
    var settings = ChatSettings(temperature: 0)
    /// Starts an engine's process.
    var command: [String] = []

    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        while let name = rest.popFirst() {
            if name == "--" {
                command = Array(rest)
                return
            }
            guard let value = rest.popFirst() else { throw Misuse(text: "\(name) needs a value") }
            switch name {
            case "--packages": packages = URL(fileURLWithPath: value, isDirectory: true)
            case "--chats": chats = URL(fileURLWithPath: value, isDirectory: true)
            case "--platform":
                if value == "ios" {
                    platform = Platform(
                        runnerKinds: ["static-kv", "text-llm"], hasCoreMl: true, runtime: platform.runtime)
                }
            case "--count": countsExactly = value == "exact"
            case "--runner": runsModule = value == "module"
            case "--system": settings.system = value
            case "--budget": settings.budget = Int(value) ?? settings.budget
            case "--temperature": settings.temperature = Double(value) ?? settings.temperature
            default: throw Misuse(text: "\(name) is unknown")
            }
        }
    }
}
