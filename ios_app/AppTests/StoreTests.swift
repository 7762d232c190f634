import Foundation
import PocketCore
import XCTest

@testable import PocketLM

final class StoreTests: XCTestCase {
    private let id = PackageId(String(repeating: "b", count: 64))

    private func defaults() throws -> UserDefaults {
        let name = "ai.pocketlm.tests.\(UUID().uuidString)"
        let defaults = try XCTUnwrap(UserDefaults(suiteName: name))
        addTeardownBlock { UserDefaults.standard.removePersistentDomain(forName: name) }
        return defaults
    }

    func testSettingsComeBackAndAreForgotten() throws {
        let store = SettingsStore(defaults: try defaults())
        XCTAssertEqual(store.load(id), ChatSettings())
        let settings = ChatSettings(system: "Be brief.", temperature: 0.25, budget: 64)
        store.save(settings, of: id)
        XCTAssertEqual(store.load(id), settings)
        store.save(ChatSettings(system: nil, temperature: 0, budget: 256), of: id)
        XCTAssertNil(store.load(id).system)
        store.forget(id)
        XCTAssertEqual(store.load(id), ChatSettings())
    }

    func testACompiledPackageIsNewAgainAfterAnUpdateOfTheSystem() throws {
        let defaults = try defaults()
        let before = CompiledMarks(defaults: defaults, system: "18.4")
        XCTAssertFalse(before.isCompiled("package"))
        before.setCompiled("package")
        XCTAssertTrue(before.isCompiled("package"))
        XCTAssertFalse(CompiledMarks(defaults: defaults, system: "18.5").isCompiled("package"))
    }

    func testTheReplyBudgetCanBeChosenAndIsNeverTheRunnersOwn() {
        XCTAssertTrue(ChatSettingsView.budgets.contains(ChatSettings().budget))
        XCTAssertFalse(ChatSettingsView.budgets.contains(128))
    }

    func testOnlyWhatLiesInTheSharedFolderIsMoved() {
        let folders = Folders(shared: URL(fileURLWithPath: "/a/Documents"), base: URL(fileURLWithPath: "/a/Library"))
        XCTAssertTrue(folders.contains(URL(fileURLWithPath: "/a/Documents/package.zip")))
        XCTAssertTrue(folders.contains(URL(fileURLWithPath: "/a/Documents/Inbox/package.zip")))
        XCTAssertFalse(folders.contains(URL(fileURLWithPath: "/a/Documents2/package.zip")))
        XCTAssertFalse(folders.contains(URL(fileURLWithPath: "/a/Documents/../x.zip")))
    }

    func testAFractionIsNeverOutOfItsRange() {
        XCTAssertNil(fraction(5, nil))
        XCTAssertNil(fraction(5, 0))
        XCTAssertEqual(fraction(5, 10), 0.5)
        XCTAssertEqual(fraction(11, 10), 1)
    }
}
