// What the device can give, and what it says of itself: memory, storage, heat.
import Foundation
import Observation
import PocketCore
import UIKit
import os

/// How hot the device is, as far as the app acts on it.
enum Heat: Equatable {
    case normal
    /// iOS slows everything down.
    case serious
    /// The model is let go.
    case critical
}

@MainActor @Observable
final class Device {
    private(set) var heat = Heat.normal
    /// The most bytes that iOS gives this app: what was left when it had just begun.
    nonisolated let mostBytes: Int64

    init() {
        mostBytes = Self.left()
    }

    /// Bytes that iOS still gives to this app before it ends it.
    nonisolated func availableBytes() -> Int64 { Self.left() }

    nonisolated private static func left() -> Int64 {
        let bytes = Int64(os_proc_available_memory())
        return bytes > 0 ? bytes : Int64(ProcessInfo.processInfo.physicalMemory) / 2  // the simulator knows no limit
    }

    /// Reads the state of heat again and returns it.
    @discardableResult
    func readHeat() -> Heat {
        heat =
            switch ProcessInfo.processInfo.thermalState {
            case .critical: .critical
            case .serious: .serious
            default: .normal
            }
        return heat
    }

    /// The hardware's identifier, such as "iPhone16,1".
    var model: String { machineName() }

    /// Such as "iOS 18.4".
    var system: String { "\(UIDevice.current.systemName) \(UIDevice.current.systemVersion)" }
}

/// What a benchmark notes after each run. Any thread may ask.
struct PhoneProbe: DeviceProbe {
    let mostBytes: Int64

    /// What iOS gives this app less than when it began; nil in the simulator, which knows no limit.
    func memoryBytes() -> Int64? {
        let left = Int64(os_proc_available_memory())
        return left > 0 ? max(0, mostBytes - left) : nil
    }

    func thermal() -> String {
        switch ProcessInfo.processInfo.thermalState {
        case .nominal: "nominal"
        case .fair: "fair"
        case .serious: "serious"
        case .critical: "critical"
        @unknown default: "unknown"
        }
    }
}

/// Read from the kernel.
private func machineName() -> String {
    var system = utsname()
    uname(&system)
    return withUnsafeBytes(of: system.machine) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}

/// Text that other apps may paste.
@MainActor
enum Clipboard {
    static func copy(_ text: String) {
        UIPasteboard.general.string = text
    }
}
