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
    private func library(_ folders: Folders) -> LibraryModel {
        let platform = Platform(runnerKinds: ["text-llm"], hasCoreMl: true, runtime: AppModel.runtime)
        let importer = Importer(folders: folders, platform: platform, transport: UrlSessionTransport.init(flag:))
        return LibraryModel(
            folders: folders, library: PackageLibrary(store: folders), importer: importer, device: Device(),
            log: LogStore())
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
        let library = library(folders)
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
        let library = library(try folders())
        library.choose(.success(base.appendingPathComponent("gone.zip")))
        let work = try await over(library)
        guard case .installing(.refused(let refusal)) = work.step else { return XCTFail("\(work.step)") }
        XCTAssertTrue(refusal.text.contains("gone.zip"))
    }

    @MainActor
    func testAnAddressThatIsNotHttpsIsRefused() async throws {
        let library = library(try folders())
        library.download("http://example.org/package.zip")
        let work = try await over(library)
        guard case .downloading(.refused(let refusal)) = work.step else { return XCTFail("\(work.step)") }
        XCTAssertEqual(refusal.key, .urlNotHttps)
        XCTAssertEqual(work.name, "package.zip")
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
