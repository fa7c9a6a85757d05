// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Core
import Egress
import Foundation
import Jobs

/// Destinations of notifications, and what became of notifications.
extension CoordinatorService {
  private static func bad(_ text: String, hint: String = "") -> PlatformError {
    PlatformError(.invalidArgument, text, hint: hint, number: "PLT-4311")
  }

  private static func name(_ request: JSONValue) throws -> String? {
    guard let value = request["display_name"], value != .null else { return nil }
    guard let name = value.stringValue?.trimmingCharacters(in: .whitespacesAndNewlines), (1...255).contains(name.count), !name.contains("\0") else {
      throw bad("display_name must be a text of 1 to 255 characters")
    }
    return name
  }

  /// The URL can be used, as far as that is known before its name is looked up.
  private func check(_ settings: WebhookSettings) throws {
    let url = try EgressURL(settings.url)
    if let address = url.address { try egress.require(address, of: url.host) }
  }

  private static func shown(_ destination: NotificationDestination, _ settings: WebhookSettings, showsSecret: Bool = false) -> JSONValue {
    var config = settings.shown
    if showsSecret, case .object(var members)? = config["generic_webhook"] {
      members["signing_secret"] = .string(settings.signingSecret)
      config = ["generic_webhook": .object(members)]
    }
    return [
      "id": .string(destination.id), "display_name": .string(destination.name), "destination_type": .string(destination.type), "config": config,
    ]
  }

  func createDestination(_ request: JSONValue, by principal: Principal) async throws -> JSONValue {
    guard let name = try Self.name(request) else { throw Self.bad("'display_name' is missing") }
    let settings = try WebhookSettings(request["config"], freshSecret: SecureRandom.bytes(32))
    try check(settings)
    let made = try await notifications.create(name: name, settings, sealedWith: sealing(), by: principal.name)
    try await catalog.audit(actor: principal.name, action: "create notification destination", object: made.id, outcome: "ok")
    // A secret that was made here is shown this once.
    let isOurs = request["config"]?["generic_webhook"]?["signing_secret"]?.stringValue == nil
    return Self.shown(made, settings, showsSecret: isOurs)
  }

  func destination(_ id: String) async throws -> JSONValue {
    let (destination, settings) = try await notifications.destination(id, sealedWith: sealing())
    return Self.shown(destination, settings)
  }

  func destinations(pageSize: Int, pageToken: String?) async throws -> JSONValue {
    let token = pageToken.flatMap { $0.isEmpty ? nil : $0 }
    guard let offset = Int(token ?? "0"), (0...1_000_000).contains(offset) else { throw Self.bad("page_token is none of ours") }
    let found = try await notifications.destinations(offset: offset, limit: pageSize + 1)
    var answer: [String: JSONValue] = [
      "results": .array(
        found.prefix(pageSize).map { ["id": .string($0.id), "display_name": .string($0.name), "destination_type": .string($0.type)] })
    ]
    if found.count > pageSize { answer["next_page_token"] = .string(String(offset + pageSize)) }
    return .object(answer)
  }

  func changeDestination(_ id: String, _ request: JSONValue, by principal: Principal) async throws -> JSONValue {
    let key = try await sealing()
    let (_, old) = try await notifications.destination(id, sealedWith: key)
    let name = try Self.name(request)
    var settings: WebhookSettings?
    if let config = request["config"], config != .null {
      let changed = try WebhookSettings(config, over: old, freshSecret: [])
      try check(changed)
      settings = changed
    }
    guard name != nil || settings != nil else { throw Self.bad("nothing is to be changed", hint: "Give display_name or config.") }
    try await notifications.change(id, name: name, settings, sealedWith: key)
    try await catalog.audit(actor: principal.name, action: "change notification destination", object: id, outcome: "ok")
    return try await destination(id)
  }

  func deleteDestination(_ id: String, by principal: Principal) async throws {
    try await notifications.delete(id)
    try await catalog.audit(actor: principal.name, action: "delete notification destination", object: id, outcome: "ok")
  }

  func deliveries(run: String?, state: String?, limit: Int, pageToken: String?) async throws -> JSONValue {
    let wanted = state.flatMap { NotificationStore.Stored.State(rawValue: $0.lowercased()) }
    if let state, wanted == nil { throw Self.bad("state '\(state.prefix(40))' is not possible", hint: "Use WAITING, SENT or FAILED.") }
    let token = pageToken.flatMap { $0.isEmpty ? nil : $0 }
    let before = token.flatMap { Int64($0) }
    if token != nil, before == nil { throw Self.bad("page_token is none of ours") }
    let found = try await notifications.list(run: run, state: wanted, before: before, limit: limit + 1)
    var answer: [String: JSONValue] = ["deliveries": .array(found.prefix(limit).map(Self.shown))]
    if found.count > limit { answer["next_page_token"] = .string(String(found[limit - 1].number)) }
    return .object(answer)
  }

  private static func shown(_ stored: NotificationStore.Stored) -> JSONValue {
    func time(_ date: Date) -> JSONValue { .integer(Int64(date.timeIntervalSince1970 * 1000)) }
    var members: [String: JSONValue] = [
      "id": .string(stored.id), "run_id": .string(stored.notice.runID), "event_type": .string(stored.notice.occasion.eventType),
      "state": .string(stored.state.rawValue.uppercased()), "attempts": .integer(Int64(stored.attempts)), "created_at": time(stored.createdAt),
    ]
    if !stored.notice.taskKey.isEmpty { members["task_key"] = .string(stored.notice.taskKey) }
    let parts = stored.notice.target.split(separator: ":", maxSplits: 1).map(String.init)
    members[parts[0] == "webhook" ? "destination_id" : "address"] = .string(parts.last ?? "")
    if !stored.error.isEmpty { members["error"] = .string(stored.error) }
    if stored.state == .waiting { members["next_attempt_at"] = time(stored.nextAt) }
    if let ended = stored.endedAt { members["ended_at"] = time(ended) }
    return .object(members)
  }

  /// Settings name only destinations that there are.
  /// - Throws: `invalidArgument` PLT-4310.
  func requireDestinations(_ settings: JSONValue) async throws {
    let all = [settings] + (settings["tasks"]?.arrayValue ?? [])
    // What cannot be read is refused with all other mistakes.
    let named = all.reduce(into: Set<String>()) { named, one in if let rules = try? NotificationRules(one) { named.formUnion(rules.destinations) } }
    guard let missing = try await notifications.missing(named).first else { return }
    var error = NotificationStore.noDestination(missing)
    error.code = .invalidArgument
    throw error
  }
}
