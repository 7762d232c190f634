// The whole app without its screens: a package in the shared folder is installed, chatted with, let go, restored after
// the process's end, tested and removed. Only ExecuTorch is replaced, by processes.
import ExecuTorch
import Foundation
import PocketCore
import SwiftUI
import XCTest

@testable import PocketLM

final class AppFlowTests: XCTestCase {
    func testEveryPackageGoesThroughTheWholeApp() async throws {
        let flows = try Flow.all()
        try XCTSkipIf(flows.isEmpty, "tests/apps/test_ios_app.py gives the packages")
        for flow in flows {
            StubPrograms.open = { try ProcessProgram(flow.command, program: $0) }
            try await AppFlow().run(flow)
            StubPrograms.open = nil
        }
    }
}

@MainActor
private final class AppFlow {
    private let base = FileManager.default.temporaryDirectory.appendingPathComponent("flow-\(UUID().uuidString)")

    private var folders: Folders {
        Folders(shared: base.appendingPathComponent("Documents"), base: base.appendingPathComponent("Library"))
    }

    private func app(_ defaults: UserDefaults) -> AppModel {
        AppModel(folders: folders, transport: UrlSessionTransport.init(flag:), defaults: defaults)
    }

    /// Waits until something holds, at most a minute.
    private func until(_ what: String, _ holds: () -> Bool) async throws {
        for _ in 0..<3000 {
            if holds() { return }
            try await Task.sleep(nanoseconds: 20_000_000)
        }
        XCTFail("waited a minute for: \(what)")
        throw CancellationError()
    }

    private func isIdle(_ app: AppModel) -> Bool {
        if case .idle = app.chat.state { true } else { false }
    }

    func run(_ flow: Flow) async throws {
        let suite = "ai.pocketlm.flow.\(UUID().uuidString)"
        let defaults = try XCTUnwrap(UserDefaults(suiteName: suite))
        defer { UserDefaults.standard.removePersistentDomain(forName: suite) }
        let first = app(defaults)
        let id = try await install(flow, first)
        try await chat(flow, first, id)
        try await letGo(flow, first, id)
        let second = app(defaults)
        try await restore(flow, second, id)
        try await test(second, id)
        second.remove(id)
        try await until("the package is removed") { second.library.packages.isEmpty }
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folders.chats.path), [])
        try? FileManager.default.removeItem(at: base)
    }

    private func install(_ flow: Flow, _ app: AppModel) async throws -> PackageId {
        try FileManager.default.createDirectory(at: folders.shared, withIntermediateDirectories: true)
        try folders.make()
        let place = folders.shared.appendingPathComponent("nano")
        try FileManager.default.copyItem(at: URL(fileURLWithPath: flow.package), to: place)
        app.library.refresh()
        XCTAssertEqual(app.library.waiting.map(\.lastPathComponent), ["nano"])
        app.library.install(waiting: try XCTUnwrap(app.library.waiting.first))
        XCTAssertEqual(app.library.waiting, [])
        try await until("the package is installed") { app.library.packages.count == 1 && app.library.work.isEmpty }
        XCTAssertFalse(FileManager.default.fileExists(atPath: place.path))
        let package = try XCTUnwrap(app.library.packages.first)
        XCTAssertEqual(package.facts.map(\.title), ["Model", "Size", "Origin"])
        return package.id
    }

    private func chat(_ flow: Flow, _ app: AppModel, _ id: PackageId) async throws {
        app.chat.change(ChatSettings(temperature: 0, budget: flow.budget), of: id)
        app.chat.open(id)
        try await until("the package is loaded") { isIdle(app) }
        for (index, question) in flow.questions.enumerated() {
            app.chat.send(.sent(question))
            try await until("reply \(index)") { isIdle(app) && said(app).count == 2 * (index + 1) }
            XCTAssertEqual(said(app).last?.content, flow.replies[index])
        }
        let rows = chatRows(app.chat.state)
        XCTAssertTrue(rows.contains { if case .forgotten = $0.content { true } else { false } })
        XCTAssertEqual(app.chat.state.chat?.statistics?.newTokens, flow.budget)
    }

    private func said(_ app: AppModel) -> [Message] { app.chat.state.chat?.messages ?? [] }

    private func letGo(_ flow: Flow, _ app: AppModel, _ id: PackageId) async throws {
        app.phaseChanged(to: .background)
        try await until("the model is let go") {
            if case .unloaded(_, .background) = app.chat.state { true } else { false }
        }
        app.phaseChanged(to: .active)
        try await until("the model is back") { isIdle(app) }
        XCTAssertEqual(said(app).count, 2 * flow.questions.count)
        app.chat.send(.packageClosed)
        try await until("the chat is closed") { app.chat.state == .empty }
    }

    private func restore(_ flow: Flow, _ app: AppModel, _ id: PackageId) async throws {
        app.chat.open(id)
        try await until("the saved chat is read") { isIdle(app) }
        XCTAssertEqual(said(app).map(\.content), zip(flow.questions, flow.replies).flatMap { [$0, $1] })
        XCTAssertEqual(app.chat.settings(of: id).budget, flow.budget)
    }

    private func test(_ app: AppModel, _ id: PackageId) async throws {
        let package = try XCTUnwrap(app.library.package(id))
        app.measures.runSelfTest(package)
        try await until("the self-test has ended") {
            switch app.measures.selfTest(of: id) {
            case nil, .loading, .running: false
            case .passed, .unsure, .failed, .stopped: true
            }
        }
        guard case .passed = app.measures.selfTest(of: id) else {
            return XCTFail("\(String(describing: app.measures.selfTest(of: id)))")
        }
        XCTAssertEqual(app.chat.state, .empty)
        app.measures.runBenchmark(package)
        try await until("the benchmark has begun") {
            if case .running(let done, _) = app.measures.benchmark(of: id) { done > 0 } else { false }
        }
        app.measures.stop()
        try await until("the benchmark has ended") {
            if case .ended = app.measures.benchmark(of: id) { true } else { false }
        }
        guard case .ended(let report, let note) = app.measures.benchmark(of: id) else { return }
        XCTAssertTrue(note.hasPrefix("The benchmark was stopped after"))
        let document = try String(contentsOf: app.measures.export(report), encoding: .utf8)
        XCTAssertTrue(document.contains("\"schema_version\""))
    }
}
