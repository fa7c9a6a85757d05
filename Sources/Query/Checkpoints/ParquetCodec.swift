// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Unpacks the pages of Parquet files that are compressed with the codecs that checkpoints have.
enum ParquetCodec {
  /// What a page may be at most when it is unpacked: more is left to the engine, which has a limit of memory.
  static let pageLimit = 256 << 20

  /// Appends exactly `size` bytes to `out`.
  /// - Parameters:
  ///   - codec: Parquet's number of it.
  ///   - place: of the page in the file, for messages.
  static func unpack(_ bytes: UnsafeRawBufferPointer, codec: Int, size: Int, place: Int, into out: inout [UInt8]) throws {
    guard size <= pageLimit else { throw ParquetFault.unknown("a page of \(size) bytes") }
    switch codec {
    case 0:
      guard bytes.count == size else { throw ParquetFault.damaged("a page does not have the size that it names", offset: place) }
      out.append(contentsOf: bytes)
    case 1:
      // A copy of 64 bytes takes at least two.
      guard size / 32 <= bytes.count else { throw ParquetFault.damaged("a page does not have the size that it names", offset: place) }
      guard let page = try? Snappy.unpack(bytes, limit: size), page.count == size else {
        throw ParquetFault.damaged("a page cannot be unpacked with snappy", offset: place)
      }
      out += page
    case 6: try zstd(bytes, size: size, place: place, into: &out)
    default: throw ParquetFault.unknown("the codec \(codec)")
    }
  }

  private struct Zstd: Sendable {
    typealias Decompress = @convention(c) (UnsafeMutableRawPointer, Int, UnsafeRawPointer, Int) -> Int
    var decompress: Decompress

    /// The system's library, which Debian's package manager itself needs. Without it pages are left to the engine.
    static let library: Zstd? = {
      guard let handle = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL), let decompress = dlsym(handle, "ZSTD_decompress") else { return nil }
      // The signature is that of zstd.h; the library stays loaded for the life of the process. An error is a size above all possible ones.
      return Zstd(decompress: unsafeBitCast(decompress, to: Decompress.self))
    }()
  }

  private static func zstd(_ bytes: UnsafeRawBufferPointer, size: Int, place: Int, into out: inout [UInt8]) throws {
    guard let library = Zstd.library else { throw ParquetFault.unknown("zstd without its library") }
    guard let from = bytes.baseAddress, !bytes.isEmpty, size > 0 else {
      guard size == 0 else { throw ParquetFault.damaged("a page is empty", offset: place) }
      return
    }
    out += try [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      guard let to = buffer.baseAddress, library.decompress(to, size, from, bytes.count) == size else {
        throw ParquetFault.damaged("a page cannot be unpacked with zstd", offset: place)
      }
      count = size
    }
  }
}
