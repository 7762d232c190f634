// Addresses whose download has not come to its end, so that it can be gone on with after the app was ended.
import Foundation

struct PendingDownloads: @unchecked Sendable {  // UserDefaults is safe on every thread
    private static let key = "downloads"

    let defaults: UserDefaults

    /// In the order in which they were begun.
    var addresses: [String] { defaults.stringArray(forKey: Self.key) ?? [] }

    func add(_ address: String) {
        if !addresses.contains(address) { defaults.set(addresses + [address], forKey: Self.key) }
    }

    func remove(_ address: String) {
        defaults.set(addresses.filter { $0 != address }, forKey: Self.key)
    }
}
