// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Addresses of names, as the machine knows them.
public enum HostResolver {
  /// A name server that does not answer holds a thread for as long as the system's own patience.
  private static let threads = BlockingPool(name: "resolver", threads: 4, queueLimit: 256)

  /// All addresses of a name, without repetitions, in the system's order.
  /// - Throws: `unavailable` PLT-4309 for a name without addresses: it may have some later.
  public static func addresses(of host: String) async throws -> [IPAddress] {
    try await threads.run { try lookUp(host) }
  }

  private static func lookUp(_ host: String) throws -> [IPAddress] {
    var hints = addrinfo()
    hints.ai_family = AF_UNSPEC
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    let status = getaddrinfo(host, nil, &hints, &list)
    defer { if let list { freeaddrinfo(list) } }
    guard status == 0 else {
      throw PlatformError(
        .unavailable, "'\(host)' has no address: \(String(cString: gai_strerror(status)))", hint: "Is the name right?", number: "PLT-4309")
    }
    var found: [IPAddress] = []
    var next = list
    while let entry = next {
      next = entry.pointee.ai_next
      guard let address = entry.pointee.ai_addr else { continue }
      let one: IPAddress
      switch entry.pointee.ai_family {
      case AF_INET:
        one = address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { raw in withUnsafeBytes(of: raw.pointee.sin_addr) { IPAddress(bytes: Array($0)) } }
      case AF_INET6:
        one = address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { raw in
          withUnsafeBytes(of: raw.pointee.sin6_addr) { IPAddress(bytes: Array($0)) }
        }
      default: continue
      }
      if !found.contains(one) { found.append(one) }
    }
    guard !found.isEmpty else { throw PlatformError(.unavailable, "'\(host)' has no address", hint: "Is the name right?", number: "PLT-4309") }
    return found
  }
}
