// How fast a package is on this device: runs of several prompt lengths, again and again, and a document of them.

/// Which runs are made for a package.
public struct BenchmarkPlan: Equatable, Sendable {
    public struct Run: Equatable, Sendable {
        public let promptTokens: Int
        /// Its figures are shown, not summed up.
        public let isWarmUp: Bool
    }

    static let prompts = [16, 128, 512]
    static let mostNewTokens = 64
    static let repeats = 3

    public let newTokens: Int
    public let runs: [Run]

    /// A warm-up, then every prompt in turn, again and again, so that heat is spread over all of them.
    ///
    /// A bounded context holds prompt and new tokens; of a tiny one half is new. A prompt is never longer than a
    /// context.
    public init(_ context: Context) {
        let isEndless = context.kind == .endless
        newTokens = isEndless ? Self.mostNewTokens : min(Self.mostNewTokens, max(1, context.tokens / 2))
        let room = isEndless ? context.tokens : context.tokens - newTokens
        let fitting = Self.prompts.filter { $0 <= room }
        let prompts = fitting.isEmpty ? [room] : fitting
        runs =
            [Run(promptTokens: prompts[0], isWarmUp: true)]
            + (0..<Self.repeats).flatMap { _ in prompts.map { Run(promptTokens: $0, isWarmUp: false) } }
    }
}

/// One run's figures.
public struct BenchmarkRun: Equatable, Sendable {
    public var promptTokens: Int
    public var newTokens: Int
    public var isWarmUp: Bool
    public var timeToFirstTokenS: Double?
    public var prefillTokensPerS: Double?
    public var decodeTokensPerS: Double?
    /// Of the app at the run's end; nil where the system does not say.
    public var memoryBytes: Int64?
    /// "nominal", "fair", "serious" or "critical".
    public var thermal: String
}

/// What the app says of itself and the device in the exported document.
public struct BenchmarkAbout: Equatable, Sendable {
    public var appName: String
    public var appVersion: String
    public var deviceModel: String
    public var system: String
    public var memoryBytes: Int64
    /// That the runtime computes with; nil where it does not say, which is 0 in the document.
    public var threads: Int?
    /// The runtime and its release.
    public var runtime: String

    public init(
        appName: String, appVersion: String, deviceModel: String, system: String, memoryBytes: Int64, threads: Int?,
        runtime: String
    ) {
        self.appName = appName
        self.appVersion = appVersion
        self.deviceModel = deviceModel
        self.system = system
        self.memoryBytes = memoryBytes
        self.threads = threads
        self.runtime = runtime
    }

    /// The document's head, the package's facts included.
    func toJson(_ package: InstalledPackage) -> [JsonEntry] {
        let manifest = package.manifest
        let context = JsonValue.object([
            JsonEntry("kind", .string(manifest.context.kind.rawValue)),
            JsonEntry("tokens", .integer(Int64(manifest.context.tokens))),
        ])
        return [
            JsonEntry(
                "app", .object([JsonEntry("name", .string(appName)), JsonEntry("version", .string(appVersion))])),
            JsonEntry(
                "device",
                .object([
                    JsonEntry("model", .string(deviceModel)), JsonEntry("system", .string(system)),
                    JsonEntry("memory_bytes", .integer(memoryBytes)),
                    JsonEntry("threads", .integer(Int64(threads ?? 0))),
                ])),
            JsonEntry(
                "package",
                .object([
                    JsonEntry("id", .string(package.id.sha256)), JsonEntry("name", .string(package.name)),
                    JsonEntry("target", .string(manifest.target)), JsonEntry("recipe", .string(manifest.recipe.name)),
                    JsonEntry("parameters", .integer(Int64(manifest.model.parameters))),
                    JsonEntry("context", context),
                ])),
            JsonEntry("runtime", .string(runtime)),
        ]
    }
}

/// All runs of a package, and what is exported of them.
public struct BenchmarkReport: Equatable, Sendable {
    public static let schemaVersion: Int64 = 1

    public let package: InstalledPackage
    public let newTokens: Int
    public let runs: [BenchmarkRun]

    /// The median of each figure by prompt, the warm-up left out.
    public struct Summary: Equatable, Sendable {
        public let promptTokens: Int
        public let timeToFirstTokenS: Double?
        public let prefillTokensPerS: Double?
        public let decodeTokensPerS: Double?
    }

    public var summary: [Summary] { Self.summary(runs) }

    static func summary(_ runs: [BenchmarkRun]) -> [Summary] {
        let measured = runs.filter { !$0.isWarmUp }
        return Set(measured.map(\.promptTokens)).sorted().map { prompt in
            let same = measured.filter { $0.promptTokens == prompt }
            return Summary(
                promptTokens: prompt, timeToFirstTokenS: median(same.compactMap(\.timeToFirstTokenS)),
                prefillTokensPerS: median(same.compactMap(\.prefillTokensPerS)),
                decodeTokensPerS: median(same.compactMap(\.decodeTokensPerS)))
        }
    }

    private static func median(_ figures: [Double]) -> Double? {
        let sorted = figures.sorted()
        if sorted.isEmpty { return nil }
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    public func toJson(_ about: BenchmarkAbout) -> JsonValue {
        Self.document(about.toJson(package), newTokens: newTokens, runs: runs)
    }

    static func document(_ about: [JsonEntry], newTokens: Int, runs: [BenchmarkRun]) -> JsonValue {
        func real(_ value: Double?) -> JsonValue { value.map { .double($0) } ?? .null }
        func figures(_ first: Double?, _ prefill: Double?, _ decode: Double?) -> [JsonEntry] {
            [
                JsonEntry("time_to_first_token_s", real(first)), JsonEntry("prefill_tokens_per_s", real(prefill)),
                JsonEntry("decode_tokens_per_s", real(decode)),
            ]
        }
        let spelled = runs.map { run -> JsonValue in
            .object(
                [
                    JsonEntry("prompt_tokens", .integer(Int64(run.promptTokens))),
                    JsonEntry("new_tokens", .integer(Int64(run.newTokens))),
                    JsonEntry("is_warm_up", .bool(run.isWarmUp)),
                    JsonEntry("memory_bytes", run.memoryBytes.map { .integer($0) } ?? .null),
                    JsonEntry("thermal", .string(run.thermal)),
                ] + figures(run.timeToFirstTokenS, run.prefillTokensPerS, run.decodeTokensPerS))
        }
        let summed = summary(runs).map { summary -> JsonValue in
            .object(
                [JsonEntry("prompt_tokens", .integer(Int64(summary.promptTokens)))]
                    + figures(summary.timeToFirstTokenS, summary.prefillTokensPerS, summary.decodeTokensPerS))
        }
        return .object(
            [JsonEntry("schema_version", .integer(schemaVersion))] + about + [
                JsonEntry("new_tokens", .integer(Int64(newTokens))), JsonEntry("runs", .array(spelled)),
                JsonEntry("summary", .array(summed)),
            ])
    }
}
