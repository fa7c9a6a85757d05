// SPDX-License-Identifier: Apache-2.0

/// When a task starts, by how the tasks that it depends on ended. A dependency is excluded when it was skipped although
/// nothing before it failed, or when it is a condition with the other outcome.
public enum RunIf: String, Codable, Sendable, CaseIterable {
  /// All succeeded. The default.
  case allSuccess = "ALL_SUCCESS"
  case atLeastOneSuccess = "AT_LEAST_ONE_SUCCESS"
  /// None failed and at least one ran.
  case noneFailed = "NONE_FAILED"
  /// All have ended, however.
  case allDone = "ALL_DONE"
  case atLeastOneFailed = "AT_LEAST_ONE_FAILED"
  case allFailed = "ALL_FAILED"

  /// How one dependency stands.
  enum Upstream: Equatable { case open, succeeded, failed, excluded }

  enum Decision: Equatable {
    case wait, run
    /// Not because of a failure.
    case exclude
    /// Because something before it failed.
    case skip
  }

  func decide(_ upstream: [Upstream]) -> Decision {
    if upstream.isEmpty { return .run }
    let failed = upstream.contains(.failed)
    if self == .allSuccess, failed { return .skip }
    if upstream.contains(.open) { return .wait }
    let without: Decision = failed ? .skip : .exclude
    switch self {
    case .allSuccess: return upstream.contains(.excluded) ? .exclude : .run
    case .atLeastOneSuccess: return upstream.contains(.succeeded) ? .run : without
    case .noneFailed: return !failed && upstream.contains(.succeeded) ? .run : without
    case .allDone: return .run
    case .atLeastOneFailed: return failed ? .run : .exclude
    case .allFailed: return upstream.allSatisfy { $0 == .failed } ? .run : .exclude
    }
  }
}
