// The settings of each package's chats, kept between starts of the app.
import Foundation
import PocketCore

struct SettingsStore: @unchecked Sendable {  // UserDefaults is safe on every thread
    let defaults: UserDefaults

    func load(_ id: PackageId) -> ChatSettings {
        guard let saved = defaults.dictionary(forKey: key(id)) else { return ChatSettings() }
        return ChatSettings(
            system: saved["system"] as? String,
            temperature: saved["temperature"] as? Double ?? ChatSettings.defaultTemperature,
            budget: saved["budget"] as? Int ?? defaultNewTokens)
    }

    func save(_ settings: ChatSettings, of id: PackageId) {
        var values: [String: Any] = ["temperature": settings.temperature, "budget": settings.budget]
        if let system = settings.system { values["system"] = system }
        defaults.set(values, forKey: key(id))
    }

    func forget(_ id: PackageId) {
        defaults.removeObject(forKey: key(id))
    }

    private func key(_ id: PackageId) -> String { "settings.\(id.sha256)" }
}
