// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// One costly value for all who ask within a moment: those who come while it is made wait for the same making.
actor SharedSnapshot {
  private let lifetime: Double
  private var value: JSONValue?
  private var madeAt = Date.distantPast
  private var making: Task<JSONValue, any Error>?

  init(seconds: Double) { lifetime = seconds }

  func get(_ make: @escaping @Sendable () async throws -> JSONValue) async throws -> JSONValue {
    if let value, Date().timeIntervalSince(madeAt) < lifetime { return value }
    if let making { return try await making.value }
    let task = Task { try await make() }
    making = task
    defer { making = nil }
    let made = try await task.value
    value = made
    madeAt = Date()
    return made
  }
}
