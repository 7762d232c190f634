// The manifest of a package, schema v1: everything that an app needs to know before and while it runs it.
//
// docs/package.md says what each field means. Sizes are bytes; lengths are tokens, positions or slots.

public struct Manifest: Equatable, Sendable {
    public static let schemaVersion = 1
    public static let maxBytes = 16 << 20
    public static let fileName = "manifest.json"

    /// A name for people; decide by `runner`.
    public let target: String
    public let runner: Runner
    public let methods: [NamedMethod]
    public let model: Model
    public let cache: Cache
    public let context: Context
    /// Tokens that local layers see, the current one included; nil without local layers.
    public let window: Int?
    /// Most tokens of one call.
    public let chunk: Int
    /// All but the manifest.
    public let files: [File]
    public let tokenizer: TokenizerFacts
    public let template: Template
    public let recipe: Recipe
    public let memory: Memory
    public let golden: Golden
    public let origin: Origin

    public func file(role: File.Role) -> File { files.first { $0.role == role } ?? files[0] }

    public func method(_ name: String) -> Method? { methods.first { $0.name == name }?.method }

    public enum RunnerKind: String, CaseIterable, Sendable {
        /// The runtime's own text runner, or our loop over `forward`.
        case textLlm = "text-llm"
        /// A loop in the app that writes the caches.
        case staticKv = "static-kv"
    }

    public struct Runner: Equatable, Sendable {
        public let kind: RunnerKind
        /// Oldest ExecuTorch release.
        public let minRuntime: String
    }

    public enum TensorType: String, CaseIterable, Sendable {
        case int64, int32, float32, float16, int8

        /// Bytes of one value.
        public var size: Int {
            switch self {
            case .int64: return 8
            case .int32, .float32: return 4
            case .float16: return 2
            case .int8: return 1
            }
        }
    }

    /// One input or output of a method, in calling order.
    public struct TensorSpec: Equatable, Sendable {
        public let name: String
        public let type: TensorType
        /// The largest sizes.
        public let shape: [Int]
        /// Indices of dimensions that may be anything from 1 to that size.
        public let dynamic: [Int]
    }

    public struct Method: Equatable, Sendable {
        public let inputs: [TensorSpec]
        public let outputs: [TensorSpec]
    }

    public struct NamedMethod: Equatable, Sendable {
        public let name: String
        public let method: Method
    }

    public struct Model: Equatable, Sendable {
        /// nil when the shape is none of the presets.
        public let preset: String?
        public let family: String
        public let parameters: Int
        public let config: ModelConfig
    }

    public enum LayerKind: String, CaseIterable, Sendable {
        case global, local
    }

    public enum CacheType: String, CaseIterable, Sendable {
        case float32, float16, int8

        var size: Int { self == .float32 ? 4 : self == .float16 ? 2 : 1 }
    }

    /// Keys and values of one layer. The token at position p lies in slot p mod slots.
    public struct CacheLayer: Equatable, Sendable {
        public let layer: Int
        public let kind: LayerKind
        /// Whether old positions are overwritten.
        public let ring: Bool
        public let slots: Int
        /// Positions that a query sees, its own included.
        public let window: Int
        public let type: CacheType
        /// Keys, values, scales and zero points.
        public let bytes: Int
    }

    public struct Cache: Equatable, Sendable {
        public let layers: [CacheLayer]
        public let bytes: Int
    }

    /// One file beside the manifest.
    public struct File: Equatable, Sendable {
        public enum Role: String, CaseIterable, Sendable {
            case program, tokenizer, licence
        }

        public let path: String
        public let bytes: Int
        public let sha256: String
        public let role: Role
    }

    /// A token that typed text must never become.
    public struct SpecialToken: Equatable, Sendable {
        public let id: Int
        public let text: String
    }

    public struct TokenizerFacts: Equatable, Sendable {
        public enum Kind: String, CaseIterable, Sendable {
            case hf, sentencepiece
        }

        public let file: String
        public let kind: Kind
        public let vocabSize: Int
        public let bosId: Int?
        /// Ids of `bosId` that the runner must put before the first prompt, 0 or 1.
        public let numBos: Int
        /// What the first prompt's text must begin with instead, or "".
        public let bosText: String
        public let stopIds: [Int]
        public let specialTokens: [SpecialToken]
    }

    /// How all layers of one kind are stored, save those that `exceptions` names.
    public struct Scheme: Equatable, Sendable {
        public let scheme: String
        public let bits: Int
        /// Columns that share a scale; nil: the whole row, or no scale.
        public let groupSize: Int?
        public let count: Int
    }

    public struct SchemeException: Equatable, Sendable {
        public let layer: String
        public let scheme: String
        public let bits: Int
        public let groupSize: Int?
        public let reason: String
    }

    public struct Recipe: Equatable, Sendable {
        public let name: String
        public let groupSize: Int?
        public let layers: [String: Scheme]
        public let exceptions: [SchemeException]
    }

    public struct Memory: Equatable, Sendable {
        public let cacheBytes: Int
        public let programBytes: Int
        /// While loading and generating.
        public let estimatedPeakBytes: Int
        /// A sentence: how the peak was estimated.
        public let estimate: String
    }

    /// A greedy generation that every machine must repeat for `compared` tokens; what differs later is reported.
    public struct Golden: Equatable, Sendable {
        /// Exactly the text to hand to the runner, `bosText` included.
        public let prompt: String
        /// With the BOS that the runner adds.
        public let promptIds: [Int]
        public let ids: [Int]
        /// The first `compared` ids decoded, for runners that return no ids.
        public let text: String
        /// Best logit minus second best, one per id.
        public let margins: [Double]
        /// Margins below it may fall either way on another processor.
        public let noiseFloor: Double
        /// Leading ids whose margins reach the floor.
        public let compared: Int
    }

    /// What the package was made from.
    public struct Origin: Equatable, Sendable {
        public let sourceSha256: String
        public let checkpointSha256: String
        public let toolVersion: String
        public let versions: [String: String]
        public let command: String
    }
}
