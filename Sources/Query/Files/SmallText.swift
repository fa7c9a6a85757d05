// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The lines of a small plain text, without the engine: it takes milliseconds for a file of whatever size, and folders hold very many small ones.
enum SmallText {
  private static let limitBytes = 64 << 10

  /// The lines as the engine would give them; empty ones are among them. Nil for a file that only the engine understands: a large or packed
  /// one, bytes that are no UTF-8, line ends other than LF.
  static func lines(_ file: OpenedFiles.File) -> [Substring]? {
    guard file.compression == "none", file.isOriginal, file.sizeBytes <= limitBytes else { return nil }
    // One more byte: a file that has grown since is no small one.
    let bytes = [UInt8](unsafeUninitializedCapacity: limitBytes + 1) { buffer, count in
      count = 0
      while count < buffer.count {
        let got = pread(file.descriptor, buffer.baseAddress! + count, buffer.count - count, off_t(count))
        if got < 0 && errno == EINTR { continue }
        guard got > 0 else {
          // What cannot be read is the engine's to report.
          if got < 0 { count = buffer.count }
          break
        }
        count += got
      }
    }
    guard bytes.count <= limitBytes, !bytes.contains(13), !bytes.contains(0) else { return nil }
    let start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    guard let text = String(validating: bytes[start...], as: UTF8.self) else { return nil }
    var lines = text.utf8.split(separator: 10, omittingEmptySubsequences: false).map { Substring($0) }
    if lines.last?.isEmpty ?? false { lines.removeLast() }
    return lines
  }
}
