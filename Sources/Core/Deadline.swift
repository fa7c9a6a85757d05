// SPDX-License-Identifier: Apache-2.0

/// Runs `body` and gives up after `limit`, cancelling it.
/// - Throws: `timeout` naming `what`, or what `body` throws.
public func withDeadline<T: Sendable>(
  _ limit: Duration, _ what: String, _ body: @escaping @Sendable () async throws -> T
) async throws -> T {
  try await withThrowingTaskGroup(of: T.self) { group in
    group.addTask { try await body() }
    group.addTask {
      try await Task.sleep(for: limit)
      throw PlatformError(.timeout, "\(what) did not finish within \(limit)")
    }
    defer { group.cancelAll() }
    guard let first = try await group.next() else { throw CancellationError() }
    return first
  }
}
