import Foundation
import PocketCore
import XCTest

@testable import PocketLM

final class LibraryModelTests: XCTestCase, @unchecked Sendable {
    private let base = FileManager.default.temporaryDirectory.appendingPathComponent("library-\(UUID().uuidString)")

    override func tearDown() {
        try? FileManager.default.removeItem(at: base)
    }

    private func folders() throws -> Folders {
        let folders = Folders(shared: base.appendingPathComponent("shared"), base: base.appendingPathComponent("base"))
        try FileManager.default.createDirectory(at: folders.shared, withIntermediateDirectories: true)
        try folders.make()
        return folders
    }

    @MainActor
    private func library(_ folders: Folders, _ pending: PendingDownloads? = nil) throws -> LibraryModel {
        let pending = try pending ?? self.pending()
        let platform = Platform(runnerKinds: ["text-llm"], hasCoreMl: true, runtime: AppModel.runtime)
        let importer = Importer(folders: folders, platform: platform, transport: UrlSessionTransport.init(flag:))
        return LibraryModel(
            folders: folders, library: PackageLibrary(store: folders), importer: importer, pending: pending,
            device: Device(), log: LogStore())
    }

    private func pending() throws -> PendingDownloads {
        let name = "ai.pocketlm.tests.\(UUID().uuidString)"
        addTeardownBlock { UserDefaults.standard.removePersistentDomain(forName: name) }
        return PendingDownloads(defaults: try XCTUnwrap(UserDefaults(suiteName: name)))
    }

    /// A good manifest of tests/vectors.
    private func manifest() throws -> Manifest {
        var folder = URL(fileURLWithPath: #filePath)
        var file = folder
        repeat {
            folder.deleteLastPathComponent()
            file = folder.appendingPathComponent("tests/vectors/manifests.json")
        } while !FileManager.default.fileExists(atPath: file.path) && folder.path != "/"
        let bases = try Json.read(Array(Data(contentsOf: file)))["bases"]
        return try Manifest.read(Array(Json.write(try XCTUnwrap(bases?["endless"])).utf8))
    }

    @MainActor
    private func over(_ library: LibraryModel) async throws -> Work {
        for _ in 0..<500 {
            if let work = library.work.first, work.isOver { return work }
            try await Task.sleep(nanoseconds: 10_000_000)
        }
        throw PocketError("the work did not end")
    }

    @MainActor
    func testAFileThatIsNoPackageIsRefusedWithASentenceAndStays() async throws {
        let folders = try folders()
        let file = folders.shared.appendingPathComponent("notes.zip")
        try Data("hello".utf8).write(to: file)
        let library = try library(folders)
        XCTAssertEqual(library.waiting.map(\.lastPathComponent), ["notes.zip"])
        library.open(library.waiting[0])
        let work = try await over(library)
        guard case .installing(.refused(let refusal)) = work.step else { return XCTFail("\(work.step)") }
        XCTAssertEqual(refusal.text, "notes.zip is not a package. Choose a zip that pocketlm export made.")
        XCTAssertFalse(work.canResume)
        library.stop(work)
        XCTAssertTrue(library.work.isEmpty)
        XCTAssertEqual(library.waiting.map(\.lastPathComponent), ["notes.zip"])
        XCTAssertTrue(FileManager.default.fileExists(atPath: file.path))
    }

    @MainActor
    func testAChosenFileThatIsGoneIsRefused() async throws {
        let library = try library(try folders())
        library.choose(.success(base.appendingPathComponent("gone.zip")))
        let work = try await over(library)
        guard case .installing(.refused(let refusal)) = work.step else { return XCTFail("\(work.step)") }
        XCTAssertTrue(refusal.text.contains("gone.zip"))
    }

    @MainActor
    func testAnAddressThatIsNotHttpsIsRefused() async throws {
        let library = try library(try folders())
        library.download("http://example.org/package.zip")
        let work = try await over(library)
        guard case .downloading(.refused(let refusal)) = work.step else { return XCTFail("\(work.step)") }
        XCTAssertEqual(refusal.key, .urlNotHttps)
        XCTAssertEqual(work.name, "package.zip")
    }

    @MainActor
    func testADownloadThatWasNotEndedIsShownPausedAtTheNextStart() async throws {
        let pending = try pending()
        pending.add("https://example.org/nano.zip")
        pending.add("https://example.org/nano.zip")
        let library = try library(try folders(), pending)
        let work = try XCTUnwrap(library.work.first)
        XCTAssertEqual(library.work.count, 1)
        XCTAssertEqual(work.step, .downloading(.paused(done: 0)))
        XCTAssertTrue(work.canResume)
        XCTAssertFalse(library.isWorking)
        library.stop(work)
        XCTAssertEqual(pending.addresses, [])
    }

    func testFilesThatAreNoneOfThePackagesStay() throws {
        let folders = try folders()
        let folder = folders.shared.appendingPathComponent("mine")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for name in ["manifest.json", ".DS_Store", "notes.txt"] {
            try Data().write(to: folder.appendingPathComponent(name))
        }
        let package = InstalledPackage(id: PackageId(""), folder: folder, manifest: try manifest())
        folders.clear(folder, of: package)
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder.path).count, 2)
        try FileManager.default.removeItem(at: folder.appendingPathComponent("notes.txt"))
        folders.clear(folder, of: package)
        XCTAssertFalse(FileManager.default.fileExists(atPath: folder.path))
    }

    func testADownloadGetsAFreeNameInTheSharedFolder() throws {
        let folders = try folders()
        for number in 1...3 {
            let file = folders.downloads.appendingPathComponent("received")
            try Data([UInt8(number)]).write(to: file)
            _ = try folders.share(file, as: "nano.zip")
        }
        XCTAssertEqual(folders.waiting().map(\.lastPathComponent), ["nano 2.zip", "nano 3.zip", "nano.zip"])
    }

    func testAFlagCallsItsHandlersOnce() {
        let flag = StopFlag()
        let calls = Counter()
        flag.onSet { calls.add() }
        flag.set()
        flag.set()
        flag.onSet { calls.add() }
        XCTAssertTrue(flag.isSet)
        XCTAssertEqual(calls.count, 2)
    }
}

private final class Counter: @unchecked Sendable {
    private let lock = NSLock()
    private var value = 0

    var count: Int { lock.withLock { value } }

    func add() {
        lock.withLock { value += 1 }
    }
}
