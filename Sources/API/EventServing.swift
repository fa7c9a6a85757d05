// SPDX-License-Identifier: Apache-2.0

public import Client
import Core
public import Foundation
import Hummingbird

/// What happened in the cluster.
public protocol EventServing: Sendable {
  /// - Parameters:
  ///   - after: only events behind this one; nil: the newest ones.
  ///   - kinds: words that mean kinds, as in `node` or `run.failed`; none: all.
  /// - Throws: `invalidArgument` PLT-4410 for a word that means none.
  func events(since: Date?, after: Int64?, kinds: [String], limit: Int) async throws -> EventList
}

/// `/api/2.0/events`.
struct EventRoutes {
  let service: any PlatformService

  func add(to router: Router<PlatformRequestContext>) {
    let service = self.service
    router.get("/api/2.0/events") { request, _ in
      var since: Date?
      if let text = request.query("since"), !text.isEmpty {
        guard let date = try? Date(text, strategy: .iso8601) else {
          throw PlatformError(.invalidArgument, "since is no time", hint: "Write it like 2026-01-31T08:00:00Z.", number: "PLT-4410")
        }
        since = date
      }
      let after = request.query("after").flatMap { $0.isEmpty ? nil : $0 }
      guard let number = after.map({ Int64($0) }) ?? 0 else { throw PlatformError(.invalidArgument, "after must be a number", number: "PLT-4410") }
      let kinds = (request.query("kind") ?? "").split(separator: ",").map(String.init)
      let limit = try request.queryInt("limit", in: 1...1000, default: 100)
      return try Response.json(await service.events(since: since, after: after == nil ? nil : number, kinds: kinds, limit: limit))
    }
  }
}
