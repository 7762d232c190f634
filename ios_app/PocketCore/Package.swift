// swift-tools-version: 6.0
// The core of the iOS app. Foundation only, so that it builds and is tested on Linux.
import PackageDescription

let package = Package(
    name: "PocketCore",
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: [
        .library(name: "PocketCore", targets: ["PocketCore"])
    ],
    targets: [
        .systemLibrary(name: "CZlib"),
        .target(name: "PocketCore", dependencies: ["CZlib"]),
        .executableTarget(name: "PocketCli", dependencies: ["PocketCore"]),
        .testTarget(name: "PocketCoreTests", dependencies: ["PocketCore"]),
    ]
)
