// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Names what a full block of the cache holds: its tokens, all tokens before them, and whose they are. 128 bits of SHA-256, so that nobody can make
/// two prefixes with the same name.
struct PrefixKey: Hashable, Sendable {
  private var high: UInt64
  private var low: UInt64

  private init(_ digest: [UInt8]) {
    func word(_ start: Int) -> UInt64 { digest[start..<start + 8].reduce(0) { $0 << 8 | UInt64($1) } }
    high = word(0)
    low = word(8)
  }

  /// What comes before the first block. Requests with different salts share nothing, so that none learns from its speed what others asked.
  /// - Parameter adapter: identity of the one that changes the model; what is computed with another, or with none, is something else.
  init(salt: String, adapter: String? = nil) {
    let salted = SHA256Digest.digest(Data(salt.utf8))
    self.init(adapter.map { SHA256Digest.digest(Data(salted + SHA256Digest.digest(Data($0.utf8)))) } ?? salted)
  }

  /// The key of the block behind this one. tokens: [KVBlockPool.blockSize]
  func next(_ tokens: ArraySlice<Int32>) -> PrefixKey {
    var bytes = Data(capacity: 16 + tokens.count * 4)
    for word in [high, low] { withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) } }
    for token in tokens { withUnsafeBytes(of: token.littleEndian) { bytes.append(contentsOf: $0) } }
    return PrefixKey(SHA256Digest.digest(bytes))
  }

  /// The keys of the full blocks of `tokens` behind those that are known already.
  static func extend(_ keys: inout [PrefixKey], salt: PrefixKey, tokens: [Int32]) {
    while (keys.count + 1) * KVBlockPool.blockSize <= tokens.count {
      let start = keys.count * KVBlockPool.blockSize
      keys.append((keys.last ?? salt).next(tokens[start..<start + KVBlockPool.blockSize]))
    }
  }
}
