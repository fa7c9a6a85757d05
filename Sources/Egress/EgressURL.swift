// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation

/// A URL that somebody gave, taken apart once and put together anew from its parts: what is connected to is what was checked.
public struct EgressURL: Hashable, Sendable {
  public let isSecure: Bool
  /// In lower case; an address of IPv6 without its brackets.
  public let host: String
  public let port: Int
  /// With its query, beginning with `/`.
  public let target: String

  /// The host, when it is an address and no name.
  public var address: IPAddress? { IPAddress(host) }
  var authority: String {
    let name = host.contains(":") ? "[\(host)]" : host
    return port == (isSecure ? 443 : 80) ? name : "\(name):\(port)"
  }
  public var text: String { "\(isSecure ? "https" : "http")://\(authority)\(target)" }

  /// Bytes of a URL.
  public static let limit = 2048

  /// - Parameter limit: the most bytes that it may have.
  /// - Throws: `invalidArgument` PLT-4307. The message holds nothing behind the host: URLs of receivers are secrets.
  public init(_ given: String, limit: Int = EgressURL.limit) throws(PlatformError) {
    func wrong(_ what: String, _ hint: String = "") -> PlatformError { PlatformError(.invalidArgument, "the URL \(what)", hint: hint, number: "PLT-4307") }
    guard !given.isEmpty, given.utf8.count <= limit else { throw wrong("must have 1 to \(limit) characters") }
    guard given.utf8.allSatisfy({ (0x21...0x7E).contains($0) && !"\\\"<>^`{|}".utf8.contains($0) }) else {
      throw wrong("has a character that URLs do not have", "Write it as %XX.")
    }
    guard let mark = given.firstRange(of: "://") else { throw wrong("has no scheme", "Use https:// or http://.") }
    switch given[..<mark.lowerBound].lowercased() {
    case "https": isSecure = true
    case "http": isSecure = false
    case let other: throw wrong("has the scheme '\(other.prefix(20))'", "Use https:// or http://.")
    }
    let rest = given[mark.upperBound...]
    let end = rest.firstIndex { "/?#".contains($0) } ?? rest.endIndex
    let authority = rest[..<end]
    guard !authority.contains("@") else { throw wrong("holds a name or password", "Give username and password apart.") }
    guard !rest[end...].contains("#") else { throw wrong("has a fragment ('#')") }
    let tail = String(rest[end...])
    target = tail.hasPrefix("/") ? tail : "/" + tail

    var name: Substring
    var digits: Substring?
    if authority.hasPrefix("[") {
      guard let close = authority.firstIndex(of: "]") else { throw wrong("has '[' without ']'") }
      name = authority[authority.index(after: authority.startIndex)..<close]
      guard name.contains(":"), IPAddress(String(name)) != nil else { throw wrong("has no address of IPv6 in its brackets") }
      let after = authority[authority.index(after: close)...]
      guard after.isEmpty || after.hasPrefix(":") else { throw wrong("has something behind ']' that is no port") }
      digits = after.isEmpty ? nil : after.dropFirst()
    } else {
      let parts = authority.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      name = parts[0]
      digits = parts.count == 2 ? parts[1] : nil
      if name.hasSuffix(".") { name = name.dropLast() }
      let labels = name.split(separator: ".", omittingEmptySubsequences: false)
      guard name.utf8.count <= 253,
        labels.allSatisfy({ label in
          (1...63).contains(label.utf8.count) && label.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }
        })
      else { throw wrong("has no usable host name") }
      // What looks like a number is an address in one form only: `127.1`, `0x7f000001`, `2130706433` and `0177.0.0.1` are read
      // differently by different programs.
      let last = labels[labels.count - 1].lowercased()
      if last.allSatisfy(\.isNumber) || last.hasPrefix("0x"), IPAddress(String(name)) == nil {
        throw wrong("has a host of numbers that is no address", "Write four numbers from 0 to 255.")
      }
    }
    host = name.lowercased()
    if let digits {
      guard digits.utf8.count <= 5, digits.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(digits), (1...65_535).contains(number) else {
        throw wrong("has no usable port")
      }
      port = number
    } else {
      port = isSecure ? 443 : 80
    }
  }
}
