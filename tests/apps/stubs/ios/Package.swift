// swift-tools-version: 6.0
// The iOS app over stub modules, so that a Linux compiler reads every line of it. Sources/PocketLM and Tests/AppTests are
// links into ios_app/. Apple's tools never see this package.
import PackageDescription

let apple: [Target.Dependency] = [
    "SwiftUI", "UIKit", "UniformTypeIdentifiers", "os", "ExecuTorch", "ExecuTorchLLM",
    .product(name: "PocketCore", package: "PocketCore"),
]

let package = Package(
    name: "PocketLMOnLinux",
    dependencies: [.package(path: "../../../../ios_app/PocketCore")],
    targets: [
        .target(name: "UniformTypeIdentifiers"),
        .target(name: "UIKit"),
        .target(name: "os"),
        .target(name: "SwiftUI", dependencies: ["UniformTypeIdentifiers"]),
        .target(name: "ExecuTorch"),
        .target(name: "ExecuTorchLLM", dependencies: ["ExecuTorch"]),
        .executableTarget(name: "PocketLM", dependencies: apple, exclude: ["Resources"]),
        .testTarget(name: "AppTests", dependencies: apple + ["PocketLM"]),
        .testTarget(name: "EngineTests", dependencies: apple + ["PocketLM"]),
    ]
)
