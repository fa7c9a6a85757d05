// SPDX-License-Identifier: Apache-2.0

public import Core
import Egress

/// What people are told of, as the settings of jobs name it.
public enum Occasion: String, Sendable, Codable, CaseIterable {
  case start = "on_start"
  case success = "on_success"
  case failure = "on_failure"
  case slow = "on_duration_warning_threshold_exceeded"

  /// As receivers see it.
  public var eventType: String { "jobs.\(rawValue)" }
}

/// Who is told of what, of a job or of one of its tasks. A value read from settings as Databricks' clients send them.
public struct NotificationRules: Codable, Sendable, Equatable {
  /// By `Occasion`: `webhook:ID` of a destination, or `email:ADDRESS`.
  public var targets: [String: [String]] = [:]
  public var isQuietOnSkip = false
  /// The same for mail alone, as older settings have it.
  public var isMailQuietOnSkip = false
  public var isQuietOnCancel = false
  /// Of a task: silent about attempts that are followed by another.
  public var isForLastAttempt = false
  /// From the start on; after it a run or task takes longer than it should.
  public var slowAfterSeconds: Int64?

  /// Fields of settings that it is read from.
  public static let keys: Set<String> = ["webhook_notifications", "email_notifications", "notification_settings", "health"]
  /// Destinations of one event.
  public static let destinationLimit = 3
  /// Addresses of one event.
  public static let addressLimit = 50

  public var isEmpty: Bool { targets.isEmpty }

  public func targets(_ occasion: Occasion) -> [String] { targets[occasion.rawValue] ?? [] }

  /// Identifiers of the destinations that it names.
  public var destinations: Set<String> {
    Set(targets.values.joined().compactMap { $0.hasPrefix("webhook:") ? String($0.dropFirst("webhook:".count)) : nil })
  }

  /// - Throws: `invalidArgument` PLT-4312, the message beginning with the field's name.
  public init(_ settings: JSONValue) throws(PlatformError) {
    try readWebhooks(settings)
    try readMail(settings)
    try readSettings(settings)
    try readHealth(settings)
  }

  private static func bad(_ text: String, _ hint: String = "") -> PlatformError { PlatformError(.invalidArgument, text, hint: hint, number: "PLT-4312") }

  /// Members of a mapping that say something; empty lists say nothing.
  private static func members(_ settings: JSONValue, _ key: String) throws(PlatformError) -> [(name: String, value: JSONValue)] {
    guard let value = settings[key], value != .null else { return [] }
    guard let members = value.objectValue else { throw bad("\(key): must be a mapping") }
    return members.filter { $0.value != .null && $0.value != .array([]) }.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  private static let notBuilt: Set<String> = ["on_streaming_backlog_exceeded", "on_maintenance_start", "on_maintenance_complete"]

  private static func occasion(_ name: String, of key: String) throws(PlatformError) -> Occasion {
    if let occasion = Occasion(rawValue: name) { return occasion }
    let known = Occasion.allCases.map(\.rawValue)
    guard !notBuilt.contains(name) else {
      throw bad("\(key): '\(name)' is not built", "Built: \(known.joined(separator: ", ")).")
    }
    let close = Spelling.suggestion(for: name, among: known)
    throw bad("\(key): unknown key '\(name.prefix(60))'", close.map { "Did you mean '\($0)'?" } ?? "Known here: \(known.joined(separator: ", ")).")
  }

  private mutating func add(_ target: String, _ occasion: Occasion) {
    if !targets(occasion).contains(target) { targets[occasion.rawValue, default: []].append(target) }
  }

  private mutating func readWebhooks(_ settings: JSONValue) throws(PlatformError) {
    let key = "webhook_notifications"
    for (name, value) in try Self.members(settings, key) {
      let occasion = try Self.occasion(name, of: key)
      guard let items = value.arrayValue else { throw Self.bad("\(key).\(name): must be a list of { id: ... }") }
      guard items.count <= Self.destinationLimit else {
        throw Self.bad("\(key).\(name): has \(items.count) destinations; \(Self.destinationLimit) are the most")
      }
      for item in items {
        guard let id = item["id"]?.stringValue, !id.isEmpty, id.utf8.count <= 100 else {
          throw Self.bad("\(key).\(name): 'id' is missing", "The number of a destination: 'platform destinations list'.")
        }
        add("webhook:\(id.lowercased())", occasion)
      }
    }
  }

  private mutating func readMail(_ settings: JSONValue) throws(PlatformError) {
    let key = "email_notifications"
    for (name, value) in try Self.members(settings, key) {
      if name == "no_alert_for_skipped_runs" {
        guard let flag = value.boolValue else { throw Self.bad("\(key).\(name): must be true or false") }
        isMailQuietOnSkip = flag
        continue
      }
      let occasion = try Self.occasion(name, of: key)
      guard let items = value.arrayValue else { throw Self.bad("\(key).\(name): must be a list of addresses") }
      guard items.count <= Self.addressLimit else { throw Self.bad("\(key).\(name): has \(items.count) addresses; \(Self.addressLimit) are the most") }
      for item in items {
        guard let address = item.stringValue, MailMessage.isAddress(address) else {
          throw Self.bad("\(key).\(name): '\(item.stringValue?.prefix(60) ?? "")' is no address", "For example operations@example.com.")
        }
        add("email:\(address)", occasion)
      }
    }
  }

  private mutating func readSettings(_ settings: JSONValue) throws(PlatformError) {
    let key = "notification_settings"
    for (name, value) in try Self.members(settings, key) {
      guard let flag = value.boolValue else { throw Self.bad("\(key).\(name.prefix(60)): must be true or false") }
      switch name {
      case "no_alert_for_skipped_runs": isQuietOnSkip = flag
      case "no_alert_for_canceled_runs": isQuietOnCancel = flag
      case "alert_on_last_attempt": isForLastAttempt = flag
      default:
        let known = ["no_alert_for_skipped_runs", "no_alert_for_canceled_runs", "alert_on_last_attempt"]
        throw Self.bad(
          "\(key): unknown key '\(name.prefix(60))'",
          Spelling.suggestion(for: name, among: known).map { "Did you mean '\($0)'?" } ?? "Known here: \(known.joined(separator: ", ")).")
      }
    }
  }

  private mutating func readHealth(_ settings: JSONValue) throws(PlatformError) {
    for (name, value) in try Self.members(settings, "health") {
      guard name == "rules", let rules = value.arrayValue else { throw Self.bad("health: must be { rules: [ ... ] }") }
      for rule in rules {
        let metric = rule["metric"]?.stringValue ?? ""
        guard metric == "RUN_DURATION_SECONDS" else {
          throw Self.bad("health.rules: the metric '\(metric.prefix(60))' is not built", "Built: RUN_DURATION_SECONDS.")
        }
        guard rule["op"]?.stringValue == "GREATER_THAN" else { throw Self.bad("health.rules: 'op' must be GREATER_THAN") }
        guard let seconds = rule["value"]?.intValue, (1...31_536_000).contains(seconds) else {
          throw Self.bad("health.rules: 'value' must be a number of seconds from 1 to 31536000")
        }
        guard slowAfterSeconds == nil else { throw Self.bad("health.rules: RUN_DURATION_SECONDS is there twice") }
        slowAfterSeconds = Int64(seconds)
      }
    }
  }
}
