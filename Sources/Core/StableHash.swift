// SPDX-License-Identifier: Apache-2.0

/// The 64-bit FNV-1a hash followed by a SplitMix finaliser. Fixed for ever: partition numbers and near-duplicate
/// signatures on disk depend on it. Not for untrusted keys in hash tables.
public enum StableHash {
  public static func hash(_ bytes: some Sequence<UInt8>, seed: UInt64 = 0) -> UInt64 {
    var value: UInt64 = 0xCBF2_9CE4_8422_2325 ^ seed
    for byte in bytes {
      value ^= UInt64(byte)
      value = value &* 0x0000_0100_0000_01B3
    }
    return SplitMix64.mix(value)
  }

  public static func hash(_ text: String, seed: UInt64 = 0) -> UInt64 { hash(text.utf8, seed: seed) }
}
