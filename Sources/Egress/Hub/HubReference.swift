// SPDX-License-Identifier: Apache-2.0

public import Core

/// A model on the hub: `hf:ORG/NAME`, with `@REVISION` for another branch, tag or commit than `main`.
public struct HubReference: Sendable, Equatable {
  public static let prefix = "hf:"
  /// `ORG/NAME`, or `NAME` alone for the oldest models.
  public var repository: String
  public var revision: String

  /// - Throws: `invalidArgument` PLT-5223.
  public init(_ text: String) throws(PlatformError) {
    func wrong(_ what: String) -> PlatformError {
      PlatformError(.invalidArgument, "'\(text.prefix(200))' \(what)", hint: "Write hf:ORG/NAME or hf:ORG/NAME@REVISION.", number: "PLT-5223")
    }
    let rest = text.hasPrefix(Self.prefix) ? text.dropFirst(Self.prefix.count) : text[...]
    let parts = rest.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
    repository = String(parts[0])
    revision = parts.count == 2 ? String(parts[1]) : "main"
    let names = repository.split(separator: "/", omittingEmptySubsequences: false)
    // The hub's own rule for names; with it, a name is no path and needs no escaping.
    guard (1...2).contains(names.count), names.allSatisfy({ Self.isName($0) }) else { throw wrong("names no model of the hub") }
    let branches = revision.split(separator: "/", omittingEmptySubsequences: false)
    guard revision.utf8.count <= 200, branches.allSatisfy({ Self.isName($0) }) else { throw wrong("names no revision") }
  }

  private static func isName(_ text: Substring) -> Bool {
    (1...96).contains(text.utf8.count) && !text.hasPrefix(".") && !text.contains("..") && !text.contains("--")
      && text.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 45 || $0 == 46 || $0 == 95 }
  }

  var isCommit: Bool { revision.utf8.count == 40 && revision.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) } }
  /// The folder's name in a cache: `models--ORG--NAME`.
  var folder: String { (["models"] + repository.split(separator: "/").map { String($0) }).joined(separator: "--") }
}
