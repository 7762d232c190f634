// The few calls of the file system that Foundation lacks or words differently.
import Foundation

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

enum Files {
    /// Puts a file or folder in another's place in one step; an existing file is replaced.
    ///
    /// - Throws: `POSIXError` with the system's code.
    static func rename(_ from: URL, to: URL) throws {
        if Foundation.rename(from.path, to.path) != 0 { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
    }
}
