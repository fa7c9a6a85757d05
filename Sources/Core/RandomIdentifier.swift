// SPDX-License-Identifier: Apache-2.0

/// Identifiers that nobody else has.
public enum RandomIdentifier {
  private static let digits: StaticString = "0123456789abcdef"

  /// A random UUID (RFC 9562, version 4) in small letters. `UUID()` gives the same kind, but opens a device for each.
  public static func text() -> String {
    var generator = SystemRandomNumberGenerator()
    let high = generator.next() & 0xFFFF_FFFF_FFFF_0FFF | 0x4000
    let low = generator.next() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    return String(unsafeUninitializedCapacity: 36) { out in
      var at = 0
      for index in 0..<32 {
        if index == 8 || index == 12 || index == 16 || index == 20 {
          out[at] = UInt8(ascii: "-")
          at += 1
        }
        let half = index < 16 ? high : low
        out[at] = digits.utf8Start[Int(half >> UInt64(60 - 4 * (index & 15)) & 15)]
        at += 1
      }
      return at
    }
  }
}
