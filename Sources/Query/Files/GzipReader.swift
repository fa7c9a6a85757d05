// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
import Glibc

/// Unpacks gzip with the system's zlib, which is loaded when the first packed file comes.
public enum GzipReader {
  public enum Failure: Error, Equatable {
    case damaged
    /// More than the limit came out: a decompression bomb, or simply too much.
    case tooLarge
  }

  /// `z_stream` of zlib.h, field by field.
  private struct Stream {
    var nextIn: UnsafePointer<UInt8>?
    var availableIn: UInt32 = 0
    var totalIn: UInt = 0
    var nextOut: UnsafeMutablePointer<UInt8>?
    var availableOut: UInt32 = 0
    var totalOut: UInt = 0
    var message: UnsafePointer<CChar>?
    var state: UnsafeMutableRawPointer?
    var allocate: UnsafeMutableRawPointer?
    var free: UnsafeMutableRawPointer?
    var opaque: UnsafeMutableRawPointer?
    var dataType: Int32 = 0
    var adler: UInt = 0
    var reserved: UInt = 0
  }

  private struct Library: Sendable {
    var start: @convention(c) (UnsafeMutableRawPointer, Int32, UnsafePointer<CChar>, Int32) -> Int32
    var inflate: @convention(c) (UnsafeMutableRawPointer, Int32) -> Int32
    var reset: @convention(c) (UnsafeMutableRawPointer) -> Int32
    var end: @convention(c) (UnsafeMutableRawPointer) -> Int32
    var checksum: @convention(c) (UInt, UnsafePointer<UInt8>?, UInt32) -> UInt
  }

  private static let library: Library? = {
    guard let handle = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL), let start = dlsym(handle, "inflateInit2_"),
      let inflate = dlsym(handle, "inflate"), let reset = dlsym(handle, "inflateReset"),
      let end = dlsym(handle, "inflateEnd"), let checksum = dlsym(handle, "crc32")
    else { return nil }
    // The signatures are those of zlib.h; the library stays loaded for the life of the process.
    return Library(
      start: unsafeBitCast(
        start, to: (@convention(c) (UnsafeMutableRawPointer, Int32, UnsafePointer<CChar>, Int32) -> Int32).self),
      inflate: unsafeBitCast(inflate, to: (@convention(c) (UnsafeMutableRawPointer, Int32) -> Int32).self),
      reset: unsafeBitCast(reset, to: (@convention(c) (UnsafeMutableRawPointer) -> Int32).self),
      end: unsafeBitCast(end, to: (@convention(c) (UnsafeMutableRawPointer) -> Int32).self),
      checksum: unsafeBitCast(checksum, to: (@convention(c) (UInt, UnsafePointer<UInt8>?, UInt32) -> UInt).self))
  }()

  private static func installed() throws -> Library {
    guard let library else {
      throw PlatformError(
        .badConfiguration, "zlib (libz.so.1) is not installed", hint: "Run deploy/install-dependencies.sh.", number: "PLT-1001")
    }
    return library
  }

  /// The unpacked bytes of one or more gzip members; bytes after the last member are left alone, as gzip does.
  /// - Throws: `Failure`; `badConfiguration` when zlib is not installed.
  public static func unpack(_ data: Data, limit: Int) throws -> Data { try unpack(data, limit: limit, windowBits: 31) }

  /// As `unpack`, for bare deflate data without a header (RFC 1951).
  public static func inflate(_ data: Data, limit: Int) throws -> Data { try unpack(data, limit: limit, windowBits: -15) }

  private static func unpack(_ data: Data, limit: Int, windowBits: Int32) throws -> Data {
    let library = try installed()
    guard !data.isEmpty, data.count < 1 << 31 else { throw Failure.damaged }
    var stream = Stream()
    return try data.withUnsafeBytes { raw in
      let input = raw.bindMemory(to: UInt8.self)
      return try withUnsafeMutablePointer(to: &stream) { pointer in
        // 15 window bits; + 16: a gzip header is expected; below 0: none.
        guard library.start(pointer, windowBits, "1.2.11", Int32(MemoryLayout<Stream>.size)) == 0 else { throw Failure.damaged }
        defer { _ = library.end(pointer) }
        pointer.pointee.nextIn = input.baseAddress
        pointer.pointee.availableIn = UInt32(input.count)
        var out = Data()
        var piece = [UInt8](repeating: 0, count: 1 << 16)
        while true {
          let (code, written) = piece.withUnsafeMutableBufferPointer { buffer in
            pointer.pointee.nextOut = buffer.baseAddress
            pointer.pointee.availableOut = UInt32(buffer.count)
            let code = library.inflate(pointer, 0)
            return (code, buffer.count - Int(pointer.pointee.availableOut))
          }
          guard out.count + written <= limit else { throw Failure.tooLarge }
          out.append(contentsOf: piece[..<written])
          if code == 1 {  // end of a member
            if windowBits < 0 { return out }
            guard pointer.pointee.availableIn > 2, pointer.pointee.nextIn?[0] == 0x1F, pointer.pointee.nextIn?[1] == 0x8B
            else {
              return out
            }
            guard library.reset(pointer) == 0 else { throw Failure.damaged }
          } else if code != 0 || (written == 0 && pointer.pointee.availableIn == 0) {
            throw Failure.damaged
          }
        }
      }
    }
  }

  /// Copies a part of a file, which is bare deflate data when `isPacked`, into another.
  /// - Returns: the CRC-32 and the number of the bytes that were written.
  /// - Throws: as `unpack`; what keeps the bytes from being written.
  static func copy(_ descriptor: Int32, _ part: Range<Int64>, isPacked: Bool, to output: Int32, _ path: String, limit: Int64) throws -> (UInt32, Int64) {
    let library = try installed()
    var checksum: UInt = 0
    var written: Int64 = 0
    func put(_ bytes: UnsafeBufferPointer<UInt8>) throws {
      written += Int64(bytes.count)
      guard written <= limit else { throw Failure.tooLarge }
      checksum = library.checksum(checksum, bytes.baseAddress, UInt32(bytes.count))
      var done = 0
      while done < bytes.count {
        let count = write(output, bytes.baseAddress.map { $0 + done }, bytes.count - done)
        guard count > 0 || (count < 0 && errno == EINTR) else { throw PlatformError.system("write", path) }
        done += max(0, count)
      }
    }
    var input = [UInt8](repeating: 0, count: 1 << 18)
    var piece = [UInt8](repeating: 0, count: 1 << 18)
    var offset = part.lowerBound
    var stream = Stream()
    try withUnsafeMutablePointer(to: &stream) { pointer in
      if isPacked {
        guard library.start(pointer, -15, "1.2.11", Int32(MemoryLayout<Stream>.size)) == 0 else { throw Failure.damaged }
      }
      defer { if isPacked { _ = library.end(pointer) } }
      var hasEnded = !isPacked
      while offset < part.upperBound {
        let got = pread(descriptor, &input, Int(min(Int64(input.count), part.upperBound - offset)), off_t(offset))
        guard got > 0 else { throw Failure.damaged }
        offset += Int64(got)
        try input.withUnsafeBufferPointer { bytes in
          guard isPacked else { return try put(UnsafeBufferPointer(rebasing: bytes[..<got])) }
          guard !hasEnded else { throw Failure.damaged }
          pointer.pointee.nextIn = bytes.baseAddress
          pointer.pointee.availableIn = UInt32(got)
          var isFull = false
          while !hasEnded, pointer.pointee.availableIn > 0 || isFull {
            try piece.withUnsafeMutableBufferPointer { buffer in
              pointer.pointee.nextOut = buffer.baseAddress
              pointer.pointee.availableOut = UInt32(buffer.count)
              let code = library.inflate(pointer, 0)
              // -5: nothing came out, and nothing is left to take.
              guard code == 0 || code == 1 || code == -5 else { throw Failure.damaged }
              let count = buffer.count - Int(pointer.pointee.availableOut)
              guard code != -5 || pointer.pointee.availableIn == 0 else { throw Failure.damaged }
              hasEnded = code == 1
              isFull = count == buffer.count
              if count > 0 { try put(UnsafeBufferPointer(rebasing: UnsafeBufferPointer(buffer)[..<count])) }
            }
          }
          guard !hasEnded || pointer.pointee.availableIn == 0 else { throw Failure.damaged }
        }
      }
      guard hasEnded else { throw Failure.damaged }
    }
    return (UInt32(truncatingIfNeeded: checksum), written)
  }

  /// Calls `body` with what comes out of a file's members, piece by piece; their checksums are looked at. Bytes after the last member are left
  /// alone, as gzip does.
  /// - Parameter body: false: that is enough.
  /// - Throws: `PackedDamage`, also for a file that ends too early; `badConfiguration` when zlib is not installed.
  static func pieces(_ descriptor: Int32, _ body: (UnsafeBufferPointer<UInt8>) throws -> Bool) throws {
    let library = try installed()
    var stream = Stream()
    var input = [UInt8](repeating: 0, count: 1 << 18)
    var output = [UInt8](repeating: 0, count: 1 << 18)
    var offset: Int64 = 0
    try withUnsafeMutablePointer(to: &stream) { pointer in
      func damage(_ detail: String = "") -> PackedDamage {
        PackedDamage(packing: "gzip", offset: offset - Int64(pointer.pointee.availableIn), detail: detail)
      }
      guard library.start(pointer, 31, "1.2.11", Int32(MemoryLayout<Stream>.size)) == 0 else { throw damage() }
      defer { _ = library.end(pointer) }
      var hasEnded = false
      while true {
        let got = pread(descriptor, &input, input.count, off_t(offset))
        guard got > 0 else {
          guard got == 0, hasEnded else { throw damage(got == 0 ? "it ends too early" : "") }
          return
        }
        offset += Int64(got)
        let isOver = try input.withUnsafeBufferPointer { bytes -> Bool in
          pointer.pointee.nextIn = bytes.baseAddress
          pointer.pointee.availableIn = UInt32(got)
          var isFull = false
          while pointer.pointee.availableIn > 0 || (isFull && !hasEnded) {
            if hasEnded {
              // Behind a member: the next one, or what gzip leaves alone.
              guard pointer.pointee.nextIn?[0] == 0x1F else { return true }
              guard library.reset(pointer) == 0 else { throw damage() }
              hasEnded = false
            }
            let isDone = try output.withUnsafeMutableBufferPointer { buffer -> Bool in
              pointer.pointee.nextOut = buffer.baseAddress
              pointer.pointee.availableOut = UInt32(buffer.count)
              let code = library.inflate(pointer, 0)
              // -5: nothing came out, and nothing is left to take.
              guard code == 0 || code == 1 || (code == -5 && pointer.pointee.availableIn == 0) else { throw damage() }
              hasEnded = code == 1
              let count = buffer.count - Int(pointer.pointee.availableOut)
              isFull = count == buffer.count
              guard count > 0 else { return false }
              return try !body(UnsafeBufferPointer(rebasing: UnsafeBufferPointer(buffer)[..<count]))
            }
            if isDone { return true }
          }
          return false
        }
        if isOver { return }
      }
    }
  }
}
