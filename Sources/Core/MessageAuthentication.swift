// SPDX-License-Identifier: Apache-2.0

import CLibCrypto
import Foundation

/// HMAC-SHA256 (RFC 2104) by OpenSSL's libcrypto.
public enum HMACSHA256 {
  /// The 32 bytes of the code of `message` under `key`; any length of both.
  public static func code(key: some Sequence<UInt8>, message: some Sequence<UInt8>) -> [UInt8] {
    let key = Array(key)
    let message = Array(message)
    var out = [UInt8](repeating: 0, count: 32)
    var length: UInt32 = 0
    // An empty Swift array may have no address, which the library would take for "the key as before".
    let isDone = key.withUnsafeBufferPointer { keyBytes in
      message.withUnsafeBufferPointer { bytes in
        withUnsafePointer(to: UInt8(0)) { nothing in
          HMAC(EVP_sha256(), keyBytes.baseAddress ?? nothing, Int32(keyBytes.count), bytes.baseAddress ?? nothing, bytes.count, &out, &length) != nil
        }
      }
    }
    precondition(isDone && length == 32, "HMAC-SHA256 failed")
    return out
  }

  /// Compares in time that depends on the lengths only.
  public static func isEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    guard left.count == right.count else { return false }
    var difference: UInt8 = 0
    for index in left.indices { difference |= left[index] ^ right[index] }
    return difference == 0
  }
}
