// SPDX-License-Identifier: Apache-2.0

/// A regular expression that a whole name has to match.
public struct NamePattern: Sendable {
  private let expression: Expression

  /// - Throws: `invalidFile` with the reason.
  public init(_ text: String) throws { expression = try Expression("\\A(?:\(text))\\z") }

  /// False also for a name that takes more steps than the library allows.
  public func matches(_ name: String) -> Bool {
    var name = name
    return name.withUTF8 { bytes in
      var isFound = false
      expression.matches(bytes) { _ in isFound = true }
      return isFound
    }
  }
}
