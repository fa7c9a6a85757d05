// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// One-time codes that sign a browser in, so that no token ever stands in an address bar, a history or a proxy's log.
/// They live in memory only: a restarted coordinator knows none, and a new link is one command away.
final class LoginLinks: Sendable {
  static let lifetime: Double = 600
  static let capacity = 64

  private struct Entry {
    var token: String
    var expires: Date
  }
  private let entries = Mutex<[String: Entry]>([:])

  /// A code that is good once, for ten minutes. The oldest makes room when there are too many.
  func create(for token: String, now: Date = Date()) -> String {
    var generator = SystemRandomNumberGenerator()
    let code = (0..<2).map { _ in String(generator.next(), radix: 36) }.joined()
    entries.withLock { entries in
      entries = entries.filter { $0.value.expires > now }
      if entries.count >= Self.capacity, let oldest = entries.min(by: { $0.value.expires < $1.value.expires }) {
        entries[oldest.key] = nil
      }
      entries[code] = Entry(token: token, expires: now.addingTimeInterval(Self.lifetime))
    }
    return code
  }

  /// The token behind a code, once.
  func redeem(_ code: String, now: Date = Date()) -> String? {
    entries.withLock { entries in
      guard let entry = entries.removeValue(forKey: code), entry.expires > now else { return nil }
      return entry.token
    }
  }
}
