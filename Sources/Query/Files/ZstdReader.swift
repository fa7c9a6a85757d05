// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc

/// Unpacks Zstandard (RFC 8878) with the system's library, which is loaded when the first packed file comes. The engine takes the end of such a
/// file for the end of its content, also in the middle of a frame.
enum ZstdReader {
  /// `ZSTD_inBuffer` and `ZSTD_outBuffer` of zstd.h, field by field.
  private struct Buffer {
    var bytes: UnsafeMutableRawPointer?
    var size: Int
    var position = 0
  }

  private struct Library: Sendable {
    var make: @convention(c) () -> OpaquePointer?
    var free: @convention(c) (OpaquePointer?) -> Int
    var unpack: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer, UnsafeMutableRawPointer) -> Int
    var isError: @convention(c) (Int) -> UInt32
    var name: @convention(c) (Int) -> UnsafePointer<CChar>?
  }

  private static let library: Library? = {
    guard let handle = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL), let make = dlsym(handle, "ZSTD_createDStream"),
      let free = dlsym(handle, "ZSTD_freeDStream"), let unpack = dlsym(handle, "ZSTD_decompressStream"),
      let isError = dlsym(handle, "ZSTD_isError"), let name = dlsym(handle, "ZSTD_getErrorName")
    else { return nil }
    // The signatures are those of zstd.h; the library stays loaded for the life of the process.
    return Library(
      make: unsafeBitCast(make, to: (@convention(c) () -> OpaquePointer?).self),
      free: unsafeBitCast(free, to: (@convention(c) (OpaquePointer?) -> Int).self),
      unpack: unsafeBitCast(unpack, to: (@convention(c) (OpaquePointer?, UnsafeMutableRawPointer, UnsafeMutableRawPointer) -> Int).self),
      isError: unsafeBitCast(isError, to: (@convention(c) (Int) -> UInt32).self),
      name: unsafeBitCast(name, to: (@convention(c) (Int) -> UnsafePointer<CChar>?).self))
  }()

  /// Calls `body` with what comes out of the file's frames, piece by piece, and checks their checksums.
  /// - Parameter body: false: that is enough.
  /// - Throws: `PackedDamage`, also for a file that ends too early; `badConfiguration` when the library is not installed.
  static func pieces(_ descriptor: Int32, _ body: (UnsafeBufferPointer<UInt8>) throws -> Bool) throws {
    guard let library, let stream = library.make() else {
      throw PlatformError(
        .badConfiguration, "Zstandard (libzstd.so.1) is not installed", hint: "Run deploy/install-dependencies.sh.", number: "PLT-1001")
    }
    defer { _ = library.free(stream) }
    var input = [UInt8](repeating: 0, count: 1 << 18)
    var output = [UInt8](repeating: 0, count: 1 << 18)
    var offset: Int64 = 0
    // How many bytes the frame still wants, about; 0 at the end of a frame.
    var wanted = 1
    while true {
      let got = pread(descriptor, &input, input.count, off_t(offset))
      guard got > 0 else {
        guard got == 0, wanted == 0 else { throw PackedDamage(packing: "zstd", offset: offset, detail: got == 0 ? "it ends too early" : "") }
        return
      }
      let isOver = try input.withUnsafeMutableBytes { source -> Bool in
        var taken = Buffer(bytes: source.baseAddress, size: got)
        var isFull = false
        while taken.position < taken.size || (isFull && wanted != 0) {
          let isDone = try output.withUnsafeMutableBytes { target -> Bool in
            var written = Buffer(bytes: target.baseAddress, size: target.count)
            wanted = library.unpack(stream, &written, &taken)
            guard library.isError(wanted) == 0 else {
              throw PackedDamage(
                packing: "zstd", offset: offset + Int64(taken.position), detail: library.name(wanted).map { String(cString: $0).lowercased() } ?? "")
            }
            isFull = written.position == written.size
            guard written.position > 0 else { return false }
            return try !body(UnsafeBufferPointer(rebasing: target.bindMemory(to: UInt8.self)[..<written.position]))
          }
          if isDone { return true }
        }
        return false
      }
      if isOver { return }
      offset += Int64(got)
    }
  }
}
