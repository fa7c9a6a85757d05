// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation

/// What starts a job by itself. A value: it says which times have come, or what to wait for; who asks acts.
public struct JobTrigger: Sendable, Equatable {
  public enum Kind: Sendable, Equatable {
    case cron(QuartzCron, TimeZone)
    /// Seconds from one start to the next.
    case periodic(Double)
    case change(WatchRule)
    /// Whenever none of its runs is active.
    case continuous
  }
  public var kind: Kind
  /// The part of the settings that it was read from: another text is another trigger.
  public var definition: String

  /// The trigger of a job's settings; nil when it has none, or a paused one.
  /// - Throws: `invalidArgument` PLT-4230 for one that cannot be read, PLT-1210 for kinds that are not built.
  public init?(_ settings: JSONValue) throws(PlatformError) {
    func given(_ key: String) -> JSONValue? {
      guard let value = settings[key], value != .null else { return nil }
      return value
    }
    let all = ["schedule", "trigger", "continuous"].filter { given($0) != nil }
    guard all.count <= 1 else { throw Self.bad("\(all.joined(separator: " and ")) are both given", hint: "A job has one of them.") }
    guard let key = all.first, let value = given(key) else { return nil }
    guard value.objectValue != nil else { throw Self.bad("\(key) must be a mapping", hint: "") }
    let isPaused = try Self.isPaused(key, value)
    definition = "\(key) \(value.sortedText)"
    // A paused one is looked at too: it has to work when it goes on.
    switch key {
    case "schedule": kind = try Self.schedule(value)
    case "trigger": kind = try Self.trigger(value)
    default: kind = try Self.continuous(value)
    }
    if isPaused { return nil }
  }

  /// All that is wrong with what starts a job by itself; each message begins with the key that it is about.
  static func problems(_ settings: JSONValue) -> [PlatformError] {
    var found: [PlatformError] = []
    if let schedule = settings["schedule"], let members = schedule.objectValue {
      let known = ["quartz_cron_expression", "timezone_id", "pause_status"]
      for key in members.keys.sorted() where !known.contains(key) {
        let close = Spelling.suggestion(for: key, among: known) ?? known.first { $0.hasPrefix(key) }
        found.append(
          bad("schedule: unknown key '\(key.prefix(60))'", hint: close.map { "Did you mean '\($0)'?" } ?? "Known here: \(known.joined(separator: ", "))."))
      }
      do { _ = try cron(schedule) } catch { found.append(error) }
      do { _ = try zone(schedule) } catch { found.append(error) }
      do { _ = try isPaused("schedule", schedule) } catch { found.append(error) }
    }
    if found.isEmpty { do { _ = try JobTrigger(settings) } catch { found.append(error) } }
    return found
  }

  private static func isPaused(_ key: String, _ value: JSONValue) throws(PlatformError) -> Bool {
    let pause = value["pause_status"]?.stringValue
    guard pause == nil || pause == "PAUSED" || pause == "UNPAUSED" else {
      throw bad("\(key).pause_status: '\(pause?.prefix(40) ?? "")' is not possible", hint: "Use PAUSED or UNPAUSED.")
    }
    return pause == "PAUSED"
  }

  private static func bad(_ text: String, hint: String) -> PlatformError { PlatformError(.invalidArgument, text, hint: hint, number: "PLT-4230") }

  private static func cron(_ value: JSONValue) throws(PlatformError) -> QuartzCron {
    guard let text = value["quartz_cron_expression"]?.stringValue else {
      throw bad("schedule: 'quartz_cron_expression' is missing", hint: "For example \"0 30 2 * * ?\".")
    }
    return try QuartzCron(text)
  }

  private static func zone(_ value: JSONValue) throws(PlatformError) -> TimeZone {
    guard let name = value["timezone_id"]?.stringValue else { throw bad("schedule: 'timezone_id' is missing", hint: "For example UTC, or Europe/Berlin.") }
    guard let zone = TimeZone(identifier: name) else {
      let close = Spelling.suggestion(for: name, among: TimeZone.knownTimeZoneIdentifiers)
      throw bad(
        "schedule.timezone_id: there is no time zone '\(name.prefix(60))'", hint: close.map { "Did you mean '\($0)'?" } ?? "For example UTC, or Europe/Berlin.")
    }
    return zone
  }

  private static func schedule(_ value: JSONValue) throws(PlatformError) -> Kind {
    let (cron, zone) = (try Self.cron(value), try Self.zone(value))
    guard cron.next(after: Date(timeIntervalSince1970: 1_767_225_600), in: zone) != nil || cron.years != nil else {
      throw bad("schedule: '\(value["quartz_cron_expression"]?.stringValue?.prefix(100) ?? "")' never happens", hint: "Look at day and month.")
    }
    return .cron(cron, zone)
  }

  private static func notBuilt(_ place: String, _ hint: String) -> PlatformError {
    PlatformError(.invalidArgument, "\(place): is not built yet", hint: hint, number: "PLT-1210")
  }

  /// Members that are there, without those that say nothing.
  private static func members(_ value: JSONValue) -> [String: JSONValue] { (value.objectValue ?? [:]).filter { $0.value != .null } }

  private static func continuous(_ value: JSONValue) throws(PlatformError) -> Kind {
    for (key, one) in members(value).sorted(by: { $0.key < $1.key }) {
      switch (key, one.stringValue) {
      case ("pause_status", _), ("task_retry_mode", "NEVER"): continue
      case ("task_retry_mode", _): throw notBuilt("continuous.task_retry_mode: ON_FAILURE", "Give tasks max_retries.")
      default: throw notBuilt("continuous.\(key.prefix(60))", "Built is pause_status.")
      }
    }
    return .continuous
  }

  private static let kinds = ["file_arrival", "model", "periodic", "table_update"]

  private static func trigger(_ value: JSONValue) throws(PlatformError) -> Kind {
    let given = members(value).keys.filter { $0 != "pause_status" }.sorted()
    if let other = given.first(where: { !kinds.contains($0) }) {
      if let close = Spelling.suggestion(for: other, among: kinds) { throw bad("trigger: unknown key '\(other.prefix(60))'", hint: "Did you mean '\(close)'?") }
      throw notBuilt("trigger.\(other.prefix(60))", "Built are \(kinds.map { "trigger.\($0)" }.joined(separator: ", ")) and schedule.")
    }
    guard given.count == 1, let key = given.first, let body = value[key] else {
      throw bad(given.isEmpty ? "trigger: says nothing" : "trigger: \(given.joined(separator: " and ")) are both given", hint: "A job has one of them.")
    }
    guard key == "periodic" else { return .change(try watch(key, body)) }
    guard let interval = body["interval"]?.intValue, (1...10_000).contains(interval) else {
      throw bad("trigger.periodic.interval must be a number from 1 to 10000", hint: "")
    }
    switch body["unit"]?.stringValue {
    case "HOURS": return .periodic(Double(interval) * 3600)
    case "DAYS": return .periodic(Double(interval) * 86_400)
    case "WEEKS": return .periodic(Double(interval) * 604_800)
    default: throw bad("trigger.periodic.unit must be HOURS, DAYS or WEEKS", hint: "")
    }
  }

  private static func watch(_ key: String, _ body: JSONValue) throws(PlatformError) -> WatchRule {
    let place = "trigger.\(key)"
    var own: [String]
    switch key {
    case "file_arrival": own = ["url"]
    case "table_update": own = ["table_names", "condition"]
    default: own = ["condition", "securable_name", "aliases"]
    }
    own += ["min_time_between_triggers_seconds", "wait_after_last_change_seconds"]
    for name in members(body).keys.sorted() where !own.contains(name) {
      let close = Spelling.suggestion(for: name, among: own)
      throw bad("\(place): unknown key '\(name.prefix(60))'", hint: close.map { "Did you mean '\($0)'?" } ?? "Known here: \(own.joined(separator: ", ")).")
    }
    func seconds(_ name: String) throws(PlatformError) -> Int64? {
      guard let value = body[name], value != .null, value != 0 else { return nil }
      guard let number = value.intValue, (60...31_536_000).contains(number) else {
        throw bad("\(place).\(name) must be a number of seconds from 60 on", hint: "")
      }
      return Int64(number)
    }
    return WatchRule(
      source: try source(key, body, place), secondsBetween: try seconds("min_time_between_triggers_seconds"),
      quietSeconds: try seconds("wait_after_last_change_seconds"))
  }

  private static func source(_ key: String, _ body: JSONValue, _ place: String) throws(PlatformError) -> WatchRule.Source {
    func names(_ name: String) throws(PlatformError) -> [String] {
      guard let value = body[name], value != .null else { return [] }
      guard let items = value.arrayValue, items.count <= 100, items.allSatisfy({ !($0.stringValue ?? "").isEmpty }) else {
        throw bad("\(place).\(name) must be a list of at most 100 names", hint: "")
      }
      return items.compactMap(\.stringValue)
    }
    switch key {
    case "file_arrival":
      guard let url = body["url"]?.stringValue, url.hasPrefix("/") || url.contains("://") else {
        throw bad("\(place).url is missing, or no place", hint: "For example /Volumes/main/default/in/, or s3://bucket/in/.")
      }
      return .files(url: url)
    case "table_update":
      let tables = try names("table_names")
      guard !tables.isEmpty else { throw bad("\(place).table_names is missing", hint: "For example [ main.default.orders ].") }
      for table in tables where !WorkflowChecker.isObjectName(table) {
        throw bad("\(place).table_names: '\(table.prefix(100))' is not a name of the form catalog.schema.table", hint: "")
      }
      switch body["condition"]?.stringValue ?? "ANY_UPDATED" {
      case "ANY_UPDATED": return .tables(tables, all: false)
      case "ALL_UPDATED": return .tables(tables, all: true)
      case let other: throw bad("\(place).condition: '\(other.prefix(40))' is not possible", hint: "Use ANY_UPDATED or ALL_UPDATED.")
      }
    default:
      guard let model = body["securable_name"]?.stringValue, WorkflowChecker.isObjectName(model) else {
        throw bad("\(place).securable_name is missing, or no name of the form catalog.schema.model", hint: "Whole schemas are not watched.")
      }
      let aliases = try names("aliases")
      switch body["condition"]?.stringValue {
      case "MODEL_VERSION_READY" where aliases.isEmpty: return .modelVersions(model)
      case "MODEL_ALIAS_SET": return .modelAliases(model, aliases)
      default: throw bad("\(place).condition must be MODEL_VERSION_READY, or MODEL_ALIAS_SET with or without aliases", hint: "")
      }
    }
  }

  /// The next time after `date`.
  public func next(after date: Date) -> Date? {
    switch kind {
    case .cron(let cron, let zone): cron.next(after: date, in: zone)
    case .periodic(let seconds): date.addingTimeInterval(seconds)
    case .change, .continuous: nil
    }
  }

  /// The time that has come since `handled`: the last one when there are several, because nobody was there to act on the others.
  public func due(since handled: Date, now: Date) -> Date? {
    if case .periodic(let seconds) = kind {
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
