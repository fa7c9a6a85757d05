// SPDX-License-Identifier: Apache-2.0

/// What interactive statements look like on the control link. They are assigned like units, but no scheduler knows them: they
/// are never acknowledged, and both ends forget them when the session between them ends.
public enum StatementLink {
  /// Kind of the assignment; its payload goes to the executor as it is.
  public static let kind = "statement"
  /// Names of these units begin so.
  public static let prefix = "statement/"

  /// How many statements a worker with so many processors runs at once. More only wait for each other.
  public static func concurrency(slots: Int) -> Int { min(64, max(2, slots * 2)) }
}
