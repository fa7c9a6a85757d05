// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation

/// What starts a job by itself. A value: it says which times have come, who asks acts.
public struct JobTrigger: Sendable, Equatable {
  public enum Kind: Sendable, Equatable {
    case cron(QuartzCron, TimeZone)
    /// Seconds from one start to the next.
    case periodic(Double)
  }
  public var kind: Kind
  /// The part of the settings that it was read from: another text is another trigger.
  public var definition: String

  /// The trigger of a job's settings; nil when it has none, or a paused one.
  /// - Throws: `invalidArgument` PLT-4230 for one that cannot be read, PLT-1210 for kinds that are not built.
  public init?(_ settings: JSONValue) throws(PlatformError) {
    func given(_ key: String) -> JSONValue? { settings[key].flatMap { $0 == .null ? nil : $0 } }
    let all = ["schedule", "trigger", "continuous"].filter { given($0) != nil }
    guard all.count <= 1 else { throw Self.bad("\(all.joined(separator: " and ")) are both given", hint: "A job has one of them.") }
    guard let key = all.first, let value = given(key) else { return nil }
    guard value.objectValue != nil else { throw Self.bad("\(key) must be a mapping", hint: "") }
    let pause = value["pause_status"]?.stringValue
    guard pause == nil || pause == "PAUSED" || pause == "UNPAUSED" else {
      throw Self.bad("\(key).pause_status: '\(pause?.prefix(40) ?? "")' is not possible", hint: "Use PAUSED or UNPAUSED.")
    }
    definition = "\(key) \(value.sortedText)"
    // A paused one is looked at too: it has to work when it goes on.
    switch key {
    case "schedule": kind = try Self.schedule(value)
    case "trigger": kind = try Self.trigger(value, isPaused: pause == "PAUSED")
    default:
      if pause == "PAUSED" { return nil }
      throw PlatformError(.invalidArgument, "continuous: is not built yet", hint: "Give it pause_status: PAUSED, or a schedule.", number: "PLT-1210")
    }
    if pause == "PAUSED" { return nil }
  }

  private static func bad(_ text: String, hint: String) -> PlatformError { PlatformError(.invalidArgument, text, hint: hint, number: "PLT-4230") }

  private static func schedule(_ value: JSONValue) throws(PlatformError) -> Kind {
    guard let text = value["quartz_cron_expression"]?.stringValue else {
      throw bad("schedule: 'quartz_cron_expression' is missing", hint: "For example \"0 30 2 * * ?\".")
    }
    guard let name = value["timezone_id"]?.stringValue else { throw bad("schedule: 'timezone_id' is missing", hint: "For example UTC, or Europe/Berlin.") }
    guard let zone = TimeZone(identifier: name) else {
      let close = Spelling.suggestion(for: name, among: TimeZone.knownTimeZoneIdentifiers)
      throw bad(
        "schedule.timezone_id: there is no time zone '\(name.prefix(60))'", hint: close.map { "Did you mean '\($0)'?" } ?? "For example UTC, or Europe/Berlin.")
    }
    let cron = try QuartzCron(text)
    guard cron.next(after: Date(timeIntervalSince1970: 1_767_225_600), in: zone) != nil || cron.years != nil else {
      throw bad("schedule: '\(text.prefix(100))' never happens", hint: "Look at day and month.")
    }
    return .cron(cron, zone)
  }

  private static func trigger(_ value: JSONValue, isPaused: Bool) throws(PlatformError) -> Kind {
    guard let periodic = value["periodic"], periodic != .null else {
      if isPaused { return .periodic(.infinity) }
      let other = (value.objectValue ?? [:]).keys.filter { $0 != "pause_status" }.sorted().first ?? "trigger"
      throw PlatformError(
        .invalidArgument, "trigger.\(other): is not built yet", hint: "Built are trigger.periodic and schedule; or give it pause_status: PAUSED.",
        number: "PLT-1210")
    }
    guard let interval = periodic["interval"]?.intValue, (1...10_000).contains(interval) else {
      throw bad("trigger.periodic.interval must be a number from 1 to 10000", hint: "")
    }
    switch periodic["unit"]?.stringValue {
    case "HOURS": return .periodic(Double(interval) * 3600)
    case "DAYS": return .periodic(Double(interval) * 86_400)
    case "WEEKS": return .periodic(Double(interval) * 604_800)
    default: throw bad("trigger.periodic.unit must be HOURS, DAYS or WEEKS", hint: "")
    }
  }

  /// The next time after `date`.
  public func next(after date: Date) -> Date? {
    switch kind {
    case .cron(let cron, let zone): cron.next(after: date, in: zone)
    case .periodic(let seconds): seconds.isFinite ? date.addingTimeInterval(seconds) : nil
    }
  }

  /// The time that has come since `handled`: the last one when there are several, because nobody was there to act on the others.
  public func due(since handled: Date, now: Date) -> Date? {
    if case .periodic(let seconds) = kind, seconds.isFinite {
      let count = (now.timeIntervalSince(handled) / seconds).rounded(.down)
      return count >= 1 ? handled.addingTimeInterval(count * seconds) : nil
    }
    // From what has just been on: the more often it happens, the shorter the time that is looked through.
    for window in [60.0, 3600, 86_400, 86_400 * 60, .infinity] {
      var from = max(handled, now.addingTimeInterval(-window))
      var found: Date?
      while let time = next(after: from), time <= now {
        found = time
        from = time
      }
      if found != nil || from == handled { return found }
    }
    return nil
  }
}
