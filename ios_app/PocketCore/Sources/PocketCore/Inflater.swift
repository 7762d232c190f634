// A deflate stream, unpacked by the system's zlib.
import CZlib

final class Inflater {
    private var stream = z_stream()
    /// Whether the stream has come to its own end.
    private(set) var isDone = false

    init() throws {
        // Negative window bits: a bare deflate stream (zlib.h, inflateInit2).
        let code = inflateInit2_(&stream, -MAX_WBITS, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        if code != Z_OK { throw ZipDamage() }
    }

    deinit { inflateEnd(&stream) }

    /// Unpacks a block and hands over what came of it.
    ///
    /// - Throws: `ZipDamage`: it is no deflate stream, or goes on behind its end; what `onBlock` says.
    func feed(_ block: [UInt8], onBlock: (UnsafeRawBufferPointer) throws -> Void) throws {
        var input = block
        try input.withUnsafeMutableBufferPointer { input in
            stream.next_in = input.baseAddress
            stream.avail_in = uInt(input.count)
            try withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 1 << 16) { output in
                repeat {
                    stream.next_out = output.baseAddress
                    stream.avail_out = uInt(output.count)
                    let code = inflate(&stream, Z_NO_FLUSH)
                    let count = output.count - Int(stream.avail_out)
                    try onBlock(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(output)[..<count]))
                    isDone = code == Z_STREAM_END
                    if !isDone, code != Z_OK, code != Z_BUF_ERROR { throw ZipDamage() }
                } while !isDone && (stream.avail_in > 0 || stream.avail_out == 0)
            }
            if isDone, stream.avail_in > 0 { throw ZipDamage() }
        }
    }
}
