// Installations, the library and downloads, over the vectors.
import Foundation
import XCTest

@testable import PocketCore

struct TestStore: PackageStore {
    let folder: URL
    var free: Int64 = 1 << 40

    func freeBytes() -> Int64 { free }
}

/// Bytes as the vectors spell them.
func content(_ pieces: JsonValue, _ manifests: JsonValue) throws -> [UInt8] {
    try (pieces.items ?? []).flatMap { piece -> [UInt8] in
        if let name = piece["manifest"]?.text { return Array(try manifests.string(name).utf8) }
        let data = bytes(try piece.string("hex"))
        return Array([[UInt8]](repeating: data, count: try piece.int("times")).joined())
    }
}

/// Files below a folder, path -> pieces.
func write(_ files: JsonValue, to folder: URL, _ manifests: JsonValue) throws {
    guard case .object(let object) = files else { throw Mismatch(description: "no files") }
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    for entry in object.entries {
        let file = folder.appendingPathComponent(entry.key)
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(content(entry.value, manifests)).write(to: file)
    }
}

final class InstallTests: XCTestCase {
    func testInstall() throws {
        let manifests = try Vectors.document("install").get("manifests")
        try Vectors.each("install") { each in
            let root = try scratch()
            defer { try? FileManager.default.removeItem(at: root) }
            let packages = root.appendingPathComponent("packages")
            try write(each.get("before"), to: packages, manifests)
            let source = try source(each.get("source"), in: root, manifests)
            let expected = try each.get("expected")
            try check(each, expected, source, packages)
            try expect(.texts(Files.paths(below: packages).sorted()), expected["paths"])
        }
    }

    private func source(_ value: JsonValue, in root: URL, _ manifests: JsonValue) throws -> PackageSource {
        let place = root.appendingPathComponent(try value.string("name"))
        if let files = value["files"] {
            try write(files, to: place, manifests)
            return .folder(place, isMovable: false)
        }
        try Data(content(value.get("zip"), manifests)).write(to: place)
        return .zip(place)
    }

    private func check(
        _ each: JsonValue, _ expected: JsonValue, _ source: PackageSource, _ packages: URL
    ) throws {
        let store = TestStore(folder: packages, free: Int64(try each.int("free_bytes")))
        var phases: [String] = []
        var done: Int64 = 0
        var isCancelled = false
        let cancelIn = each["cancel_in"]?.text
        var wrong = ""
        let platform = try platform(each.get("platform"))
        let onState: (InstallState) -> Void = { state in
            guard let (phase, progress) = self.phase(state) else { return }
            if phases.last != phase {
                phases.append(phase)
                done = 0
            }
            if let progress {
                if progress.done < done || progress.done > progress.total { wrong = "\(state) after \(done)" }
                done = progress.done
            }
            if phase == cancelIn { isCancelled = true }
        }
        let installer = Installer(store: store, platform: platform)
        let last = installer.install(source, isCancelled: { isCancelled }, onState: onState)
        if !wrong.isEmpty { throw Mismatch(description: wrong) }
        try expect(.texts(phases), expected["phases"])
        try check(last, expected.get("final"))
    }

    private func check(_ last: InstallState, _ final: JsonValue) throws {
        switch last {
        case .installed(let package):
            try expect(package.id.sha256, final["id"]?.text)
            try expect(package.folder.lastPathComponent, final["folder"]?.text)
        case .refused(let refusal):
            try expect(refusal.key?.rawValue ?? "", final["key"]?.text)
            if let place = final["place"]?.text {
                if !refusal.text.contains(place) { throw Mismatch(description: refusal.text) }
            } else {
                try expect(refusal.text, final["text"]?.text)
            }
        default: throw Mismatch(description: "\(last)")
        }
    }

    private func phase(_ state: InstallState) -> (String, (done: Int64, total: Int64)?)? {
        switch state {
        case .checkingSpace: return ("checkingSpace", nil)
        case .unpacking(let done, let total): return ("unpacking", (done, total))
        case .verifying(let done, let total): return ("verifying", (done, total))
        case .moving: return ("moving", nil)
        case .installed, .refused: return nil
        }
    }

    private func platform(_ value: JsonValue) throws -> Platform {
        Platform(
            runnerKinds: Set(try value.strings("runner_kinds")), hasCoreMl: try value.bool("has_core_ml"),
            runtime: try value.string("runtime"))
    }

    /// Files of the folder that lie by the cable are moved: never two copies.
    func testAMovableFolderIsMovedAndItsShellRemoved() throws {
        let document = try Vectors.document("install")
        let good = try XCTUnwrap(document.list("cases").first { $0["name"]?.text == "a good folder" })
        let root = try scratch()
        defer { try? FileManager.default.removeItem(at: root) }
        let place = root.appendingPathComponent("nano")
        try write(good.get("source").get("files"), to: place, document.get("manifests"))
        let packages = root.appendingPathComponent("packages")
        let store = TestStore(folder: packages, free: 1 << 13)
        let last = Installer(store: store, platform: try platform(good.get("platform")))
            .install(.folder(place, isMovable: true)) { _ in }
        guard case .installed(let package) = last else { return XCTFail("\(last)") }
        XCTAssertFalse(FileManager.default.fileExists(atPath: place.path))
        XCTAssertEqual(PackageLibrary(store: store).list(), [package])
    }

    func testLibrary() throws {
        let manifests = try Vectors.document("library").get("manifests")
        try Vectors.each("library") { each in
            let folder = try scratch()
            defer { try? FileManager.default.removeItem(at: folder) }
            try write(each.get("before"), to: folder, manifests)
            let library = PackageLibrary(store: TestStore(folder: folder))
            let packages = library.list().map(listed)
            let unfinished = library.unfinished()
            library.cleanUp()
            if let id = each["remove"]?.text, let refusal = library.remove(PackageId(id)) {
                throw Mismatch(description: refusal.text)
            }
            let found = JsonValue.record([
                "packages": .array(packages), "unfinished": .texts(unfinished),
                "remaining": .texts(Files.names(in: folder)),
            ])
            try expect(found, each["expected"])
        }
    }

    private func listed(_ package: InstalledPackage) -> JsonValue {
        let manifest = package.manifest
        return .record([
            "id": .string(package.id.sha256), "folder": .string(package.folder.lastPathComponent),
            "name": .string(package.name), "target": .string(manifest.target), "bytes": .integer(package.bytes),
            "context": .record([
                "kind": .string(manifest.context.kind.rawValue), "tokens": .number(manifest.context.tokens),
            ]),
            "licences": .texts(manifest.files.filter { $0.role == .licence }.map(\.path)),
            "recipe": .string(manifest.recipe.name), "parameters": .number(manifest.model.parameters),
            "source_sha256": .string(manifest.origin.sourceSha256),
        ])
    }
}
