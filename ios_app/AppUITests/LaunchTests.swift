// The app's first screen in the simulator: it starts without a package and says how to get one.
import XCTest

final class LaunchTests: XCTestCase {
    @MainActor
    func testAFreshAppSaysHowToGetAPackage() {
        let app = XCUIApplication()
        app.launch()
        XCTAssertTrue(app.navigationBars["Packages"].waitForExistence(timeout: 10))
        XCTAssertTrue(app.staticTexts["No package yet"].exists)
        XCTAssertTrue(app.buttons["Choose a file or folder"].exists)
    }

    @MainActor
    func testAnAddressThatIsNotHttpsIsRefusedWithASentence() {
        let app = XCUIApplication()
        app.launch()
        app.buttons["Add a package"].tap()
        app.buttons["Download from an address"].tap()
        let field = app.textFields["Address of a package"]
        XCTAssertTrue(field.waitForExistence(timeout: 5))
        field.tap()
        field.typeText("http://example.org/package.zip")
        app.buttons["Download"].tap()
        let sentence = NSPredicate(format: "label CONTAINS %@", "is not an https address")
        XCTAssertTrue(app.staticTexts.matching(sentence).firstMatch.waitForExistence(timeout: 5))
    }

    @MainActor
    func testTheFirstScreenPassesTheAccessibilityAudit() throws {
        let app = XCUIApplication()
        app.launch()
        XCTAssertTrue(app.navigationBars["Packages"].waitForExistence(timeout: 10))
        try app.performAccessibilityAudit()
    }
}
