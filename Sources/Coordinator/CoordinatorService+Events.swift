// SPDX-License-Identifier: Apache-2.0

import API
import Client
import Core
import Foundation
import Jobs

/// What happened in the cluster.
extension CoordinatorService {
  func events(since: Date?, after: Int64?, kinds words: [String], limit: Int) async throws -> EventList {
    var kinds: [ClusterEvent.Kind] = []
    for word in words {
      let meant = ClusterEvent.Kind.matching(word)
      guard !meant.isEmpty else {
        let known = Set(ClusterEvent.Kind.allCases.map { String($0.rawValue.prefix { $0 != "." }) }).sorted()
        let close = Spelling.suggestion(for: word, among: known + ClusterEvent.Kind.allCases.map(\.rawValue))
        throw PlatformError(
          .invalidArgument, "there are no events of the kind '\(word.prefix(100))'",
          hint: close.map { "Did you mean '\($0)'?" } ?? "Kinds begin with \(known.joined(separator: ", ")).", number: "PLT-4410")
      }
      kinds += meant
    }
    let found = try await ClusterEventStore(pool: pool).list(since: since, after: after, kinds: words.isEmpty ? nil : kinds, limit: limit)
    return EventList(
      events: found.map {
        EventInfo(
          id: $0.id, at: $0.at, kind: $0.event.kind.rawValue, severity: $0.event.kind.severity, subject: $0.event.subject, node: $0.event.node,
          message: $0.event.message)
      }, last: found.last?.id ?? after ?? 0)
  }
}
