// SPDX-License-Identifier: Apache-2.0

public import Core

/// Where the platform may connect to when somebody gave it a URL: into the internet, and to what the operator lists beside that.
public struct EgressRules: Sendable, Equatable {
  public var allowed: [AddressBlock]

  public init(allowed: [AddressBlock] = []) { self.allowed = allowed }

  /// Name of the environment variable of the coordinator that lists further blocks, with commas between them.
  public static let variable = "PLATFORM_EGRESS_ALLOW"

  /// - Throws: `badConfiguration` PLT-4306.
  public init(environment: [String: String]) throws(PlatformError) {
    var blocks: [AddressBlock] = []
    for word in (environment[Self.variable] ?? "").split(whereSeparator: { $0 == "," || $0 == " " }) {
      guard let block = AddressBlock(String(word)) else {
        throw PlatformError(
          .badConfiguration, "\(Self.variable): '\(word.prefix(60))' is no block of addresses", hint: "For example 10.1.0.0/16,192.168.7.9.",
          number: "PLT-4306")
      }
      blocks.append(block)
    }
    self.init(allowed: blocks)
  }

  public func allows(_ address: IPAddress) -> Bool { address.isPublic || allowed.contains { $0.contains(address) } }

  /// - Throws: `permissionDenied` PLT-4308.
  public func require(_ address: IPAddress, of host: String) throws(PlatformError) {
    if allows(address) { return }
    let shown = address.description == host ? "" : " is \(address), which"
    throw PlatformError(
      .permissionDenied, "'\(host)'\(shown) is no public address", hint: "The operator can allow it: \(Self.variable)=\(address) for the coordinator.",
      number: "PLT-4308")
  }
}
