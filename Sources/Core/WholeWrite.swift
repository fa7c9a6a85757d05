// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Writing to a descriptor until everything is written, or nothing more goes.
public enum WholeWrite {
  /// Blocks. Bytes are written from where the descriptor stands; they are not synced.
  /// - Parameter path: for the error.
  /// - Throws: `resourceExhausted` PLT-3202 for a full disk, `permissionDenied`, `unavailable`.
  public static func write(_ bytes: [UInt8], to descriptor: Int32, _ path: String) throws {
    try bytes.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count {
        let count = Foundation.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { throw PlatformError.system("write", path) }
        done += count
      }
    }
  }
}
