/// Uniform types by name. Own code; sources beside each declaration.

/// Source: https://developer.apple.com/documentation/uniformtypeidentifiers/uttype-swift.struct
public struct UTType: Hashable, Sendable {
    /// Source: https://developer.apple.com/documentation/uniformtypeidentifiers/uttype-swift.struct/identifier
    public let identifier: String
    /// Source: https://developer.apple.com/documentation/uniformtypeidentifiers/uttype-swift.struct/zip
    public static let zip = UTType(identifier: "public.zip-archive")
    /// Source: https://developer.apple.com/documentation/uniformtypeidentifiers/uttype-swift.struct/folder
    public static let folder = UTType(identifier: "public.folder")
}
