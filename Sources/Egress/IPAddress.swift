// SPDX-License-Identifier: Apache-2.0

import Foundation

/// An address of IPv4 or IPv6. One of IPv4 that was written as one of IPv6 (`::ffff:10.0.0.1`) is the former.
public struct IPAddress: Hashable, Sendable, CustomStringConvertible {
  /// 4 or 16, in the order of the network.
  public let bytes: [UInt8]

  /// - Parameter bytes: 4 or 16.
  init(bytes: [UInt8]) {
    precondition(bytes.count == 4 || bytes.count == 16)
    let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]
    self.bytes = bytes.count == 16 && Array(bytes.prefix(12)) == mapped ? Array(bytes.suffix(4)) : bytes
  }

  /// Four decimal numbers, or the forms of RFC 4291; nothing else, in particular neither `0x7f.1` nor `2130706433`.
  public init?(_ text: String) {
    var out = [UInt8](repeating: 0, count: 16)
    if inet_pton(AF_INET, text, &out) == 1 {
      self.init(bytes: Array(out.prefix(4)))
    } else if inet_pton(AF_INET6, text, &out) == 1 {
      self.init(bytes: out)
    } else {
      return nil
    }
  }

  public var isIPv4: Bool { bytes.count == 4 }

  public var description: String {
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    let isWritten = inet_ntop(isIPv4 ? AF_INET : AF_INET6, bytes, &text, socklen_t(text.count)) != nil
    precondition(isWritten, "an address has 4 or 16 bytes")
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Whether it is somewhere in the internet: no machine's own, no network's own, none of many at once, none that only leads to such a one.
  ///
  /// The lists are IANA's special-purpose registries; of IPv6 only what is given out (2000::/3) counts.
  public var isPublic: Bool {
    if isIPv4 { return !Self.specialIPv4.contains { $0.contains(self) } }
    return Self.globalIPv6.contains(self) && !Self.specialIPv6.contains { $0.contains(self) }
  }

  private static let specialIPv4: [AddressBlock] = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
  ].compactMap { AddressBlock($0) }
  private static let globalIPv6 = AddressBlock(first: [0x20] + [UInt8](repeating: 0, count: 15), length: 3)
  /// Among them those that carry an address of IPv4 (Teredo, 6to4).
  private static let specialIPv6: [AddressBlock] = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"].compactMap { AddressBlock($0) }
}

/// Addresses that begin with the same bits: `10.1.0.0/16`, or one address.
public struct AddressBlock: Hashable, Sendable {
  let first: [UInt8]
  /// Bits that are the same in all.
  let length: Int

  init(first: [UInt8], length: Int) {
    self.first = first
    self.length = length
  }

  /// Nil for what is none, or has bits behind its length (`10.1.2.3/8` is probably a mistake).
  public init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.count <= 2, let address = IPAddress(parts[0]) else { return nil }
    let bits = address.bytes.count * 8
    guard let length = parts.count == 1 ? bits : Int(parts[1]), (0...bits).contains(length), parts.count == 1 || parts[1].allSatisfy(\.isASCII) else {
      return nil
    }
    for bit in length..<bits where address.bytes[bit / 8] >> UInt8(7 - bit % 8) & 1 == 1 { return nil }
    self.init(first: address.bytes, length: length)
  }

  public func contains(_ address: IPAddress) -> Bool {
    guard address.bytes.count == first.count else { return false }
    let whole = length / 8
    guard address.bytes.prefix(whole).elementsEqual(first.prefix(whole)) else { return false }
    let rest = length % 8
    return rest == 0 || (address.bytes[whole] ^ first[whole]) >> UInt8(8 - rest) == 0
  }
}
