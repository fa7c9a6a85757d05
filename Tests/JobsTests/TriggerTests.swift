// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Scheduling
import Testing

@testable import Jobs

/// Times of jobs, without a clock.
@Suite struct TriggerTests {
  private func date(_ text: String) throws -> Date { try Date(text + "Z", strategy: .iso8601) }

  struct Case: Sendable, CustomTestStringConvertible {
    var cron: String
    var zone: String
    var after: String
    /// In UTC.
    var times: [String]
    var testDescription: String { "\(cron) \(zone) \(after)" }
  }

  @Test(arguments: [
    Case(cron: "0 30 2 * * ?", zone: "UTC", after: "2026-11-22T02:30:00", times: ["2026-11-23T02:30:00", "2026-11-24T02:30:00"]),
    Case(cron: "0 0/15 8-9 * * ?", zone: "UTC", after: "2026-11-22T08:50:00", times: ["2026-11-22T09:00:00", "2026-11-22T09:15:00"]),
    Case(
      cron: "0 0 22-1 * * ?", zone: "UTC", after: "2026-11-22T22:30:00",
      times: ["2026-11-22T23:00:00", "2026-11-23T00:00:00", "2026-11-23T01:00:00", "2026-11-23T22:00:00"]),
    Case(cron: "*/20 59 23 31 12 ?", zone: "UTC", after: "2026-11-22T00:00:00", times: ["2026-12-31T23:59:00", "2026-12-31T23:59:20", "2026-12-31T23:59:40"]),
    Case(cron: "0 0 12 ? * MON-FRI", zone: "UTC", after: "2026-11-20T13:00:00", times: ["2026-11-23T12:00:00"]),
    Case(cron: "0 0 0 ? * fri-mon", zone: "UTC", after: "2026-11-22T13:00:00", times: ["2026-11-23T00:00:00", "2026-11-27T00:00:00"]),
    Case(cron: "0 0 0 ? * 6#3", zone: "UTC", after: "2026-11-01T00:00:00", times: ["2026-11-20T00:00:00", "2026-12-18T00:00:00"]),
    Case(cron: "0 0 0 ? * 2L", zone: "UTC", after: "2026-11-01T00:00:00", times: ["2026-11-30T00:00:00", "2026-12-28T00:00:00"]),
    Case(cron: "0 0 0 15W * ?", zone: "UTC", after: "2026-11-01T00:00:00", times: ["2026-11-16T00:00:00"]),
    Case(cron: "0 0 0 1W AUG ?", zone: "UTC", after: "2026-07-31T00:00:00", times: ["2026-08-03T00:00:00"]),
    Case(cron: "0 0 0 LW * ?", zone: "UTC", after: "2027-01-01T00:00:00", times: ["2027-01-29T00:00:00", "2027-02-26T00:00:00"]),
    Case(cron: "0 0 0 L * ?", zone: "UTC", after: "2028-02-10T00:00:00", times: ["2028-02-29T00:00:00", "2028-03-31T00:00:00"]),
    Case(cron: "0 0 0 L-3 * ?", zone: "UTC", after: "2027-02-10T00:00:00", times: ["2027-02-25T00:00:00"]),
    Case(cron: "0 0 0 29 2 ?", zone: "UTC", after: "2026-01-01T00:00:00", times: ["2028-02-29T00:00:00", "2032-02-29T00:00:00"]),
    Case(cron: "0 0 0 1 JAN ? 2030", zone: "UTC", after: "2026-01-01T00:00:00", times: ["2030-01-01T00:00:00"]),
    Case(cron: "0 0 3 * * ?", zone: "Asia/Kolkata", after: "2026-11-22T00:00:00", times: ["2026-11-22T21:30:00"]),
    // The clocks of Berlin go from 2:00 to 3:00 on the 29th of March, and from 3:00 to 2:00 on the 25th of October 2026.
    Case(
      cron: "0 30 2 * * ?", zone: "Europe/Berlin", after: "2026-03-28T00:00:00",
      times: ["2026-03-28T01:30:00", "2026-03-29T01:00:00", "2026-03-30T00:30:00"]),
    Case(
      cron: "0 30 2 * * ?", zone: "Europe/Berlin", after: "2026-10-24T00:00:00",
      times: ["2026-10-24T00:30:00", "2026-10-25T00:30:00", "2026-10-26T01:30:00"]),
    Case(cron: "0 30 * * * ?", zone: "Europe/Berlin", after: "2026-03-29T00:00:00", times: ["2026-03-29T00:30:00", "2026-03-29T01:30:00"]),
    Case(
      cron: "0 30 * * * ?", zone: "Europe/Berlin", after: "2026-10-24T23:40:00",
      times: ["2026-10-25T00:30:00", "2026-10-25T01:30:00", "2026-10-25T02:30:00"]),
    // A day without a midnight.
    Case(cron: "0 0 0 * * ?", zone: "Africa/Cairo", after: "2026-04-23T12:00:00", times: ["2026-04-23T22:00:00", "2026-04-24T21:00:00"]),
  ]) func timesAreThoseOfQuartz(_ one: Case) throws {
    let cron = try QuartzCron(one.cron)
    let zone = try #require(TimeZone(identifier: one.zone))
    var now = try date(one.after)
    for time in one.times {
      let next = try #require(cron.next(after: now, in: zone))
      #expect(next == (try date(time)), "\(next.formatted(.iso8601)) for \(time)")
      now = next
    }
  }

  @Test func everyTimeHappensOnceAndInOrderWhereverTheClocksChange() throws {
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago"].compactMap({ TimeZone(identifier: $0) }) {
      for (text, count) in [("0 15 * * * ?", 8_760), ("0 30 2 * * ?", 365), ("0 0 0,12 * * ?", 730), ("0 45 1 * * ?", 365)] {
        let cron = try QuartzCron(text)
        let end = try date("2027-01-01T12:00:00")
        var now = try date("2026-01-01T12:00:00")
        var found = 0
        while let next = cron.next(after: now, in: zone), next <= end {
          #expect(next > now)
          // Asked a moment before, the answer is the same.
          if found % 97 == 0 { #expect(cron.next(after: next.addingTimeInterval(-1), in: zone) == next) }
          now = next
          found += 1
        }
        #expect(abs(found - count) <= 1, "\(text) in \(zone.identifier): \(found)")
      }
    }
  }

  @Test(arguments: [
    ("0 30 2 * *", "Quartz begins with seconds"), ("60 0 0 * * ?", "seconds"), ("0 0 0 ? * ?", "both"), ("0 0 0 1 * 2", "both given"),
    ("0 0 0 32 * ?", "day of month"), ("0 0 0 ? * 8", "day of week"), ("0 0 0 ? * FOO", "day of week"), ("0 0/0 0 * * ?", "minutes"),
    ("0 0 0 1,,2 * ?", "day of month"), ("0 -1 0 * * ?", "minutes"), ("0 0 0 ? * 6#6", "day of week"), ("", "0 fields"),
    (String(repeating: "0 ", count: 500), "fields"), ("0 0 0 1/1/1 * ?", "day of month"), ("0 0 24 * * ?", "hours"), ("0 0 0 * 13 ?", "month"),
  ]) func whatCannotBeReadIsRefused(_ text: String, _ says: String) {
    do {
      _ = try QuartzCron(text)
      Issue.record("'\(text)' was taken")
    } catch {
      #expect((error.message + error.hint).contains(says), "\(error)")
    }
  }

  @Test func triggersAreReadFromSettings() throws {
    func schedule(_ cron: String, _ zone: String = "UTC", pause: String? = nil) -> JSONValue {
      var members: [String: JSONValue] = ["quartz_cron_expression": .string(cron), "timezone_id": .string(zone)]
      if let pause { members["pause_status"] = .string(pause) }
      return ["schedule": .object(members)]
    }
    #expect(try JobTrigger(["name": "x"]) == nil && JobTrigger(schedule("0 0 0 * * ?", pause: "PAUSED")) == nil)
    #expect(try JobTrigger(["trigger": ["periodic": ["interval": 2, "unit": "HOURS"]]])?.kind == .periodic(7_200))
    #expect(try JobTrigger(["trigger": ["file_arrival": ["url": "/Volumes/a/b/c"], "pause_status": "PAUSED"]]) == nil)
    #expect(try JobTrigger(["continuous": [:], "schedule": .null])?.kind == .continuous && JobTrigger(["continuous": ["pause_status": "PAUSED"]]) == nil)
    let files: JSONValue = ["file_arrival": ["url": "s3://b/in/", "min_time_between_triggers_seconds": 60, "wait_after_last_change_seconds": 90]]
    #expect(try JobTrigger(["trigger": files])?.kind == .change(WatchRule(source: .files(url: "s3://b/in/"), secondsBetween: 60, quietSeconds: 90)))
    let tables: JSONValue = ["table_update": ["table_names": ["a.b.c", "a.b.d"], "condition": "ALL_UPDATED"], "sql_condition": .null]
    #expect(try JobTrigger(["trigger": tables])?.kind == .change(WatchRule(source: .tables(["a.b.c", "a.b.d"], all: true))))
    let model: JSONValue = ["model": ["condition": "MODEL_ALIAS_SET", "securable_name": "a.b.m", "aliases": ["champion"]]]
    #expect(try JobTrigger(["trigger": model])?.kind == .change(WatchRule(source: .modelAliases("a.b.m", ["champion"]))))
    let bad: [JSONValue] = [
      schedule("0 0 0 30 2 ?"), schedule("0 0 0 * * ?", "Europe/Belin"), schedule("nonsense", pause: "PAUSED"), schedule("0 0 0 * * ?", pause: "MAYBE"),
      ["schedule": "daily"], ["schedule": [:]], ["continuous": ["task_retry_mode": "ON_FAILURE"]], ["trigger": [:]],
      ["trigger": ["file_arrival": ["url": "x"]]], ["trigger": ["file_arrival": ["url": "/x", "wait_after_last_change_seconds": 59]]],
      ["trigger": ["table_update": ["table_names": []]]], ["trigger": ["table_update": ["table_names": ["a.b"]]]],
      ["trigger": ["table_update": ["table_names": ["a.b.c"], "condition": "SOME"]]], ["trigger": ["model": ["condition": "MODEL_CREATED"]]],
      ["trigger": ["model": ["condition": "MODEL_VERSION_READY", "securable_name": "a.b.m", "aliases": ["x"]]]],
      ["trigger": ["file_arrival": ["url": "/x"], "table_update": ["table_names": ["a.b.c"]]]],
      ["trigger": ["file_arrival": ["url": "/x"], "sql_condition": ["x": "y"]]],
      ["trigger": ["periodic": ["interval": 0, "unit": "HOURS"]]], ["trigger": ["periodic": ["interval": 1, "unit": "MINUTES"]]],
      ["schedule": ["quartz_cron_expression": "0 0 0 * * ?", "timezone_id": "UTC"], "continuous": [:]],
    ]
    for settings in bad { #expect(throws: PlatformError.self, "\(settings.sortedText)") { try JobTrigger(settings) } }
    let parsed = JobSettings.check([
      "name": "x", "schedule": ["quartz_cron_expression": "x"], "tasks": [["task_key": "a", "sql_task": ["statement": "SELECT 1"]]],
    ])
    // The expression, and the time zone that is missing.
    #expect(parsed.errors.map(\.number) == ["PLT-4230", "PLT-4230"])
  }

  // MARK: changes

  private static func starts(_ watch: inout ChangeWatch, _ now: [String: String], _ rule: WatchRule, _ second: Int64) -> Bool {
    let before = watch.starts
    watch.look(now, rule, at: second * 1000)
    defer { watch.isStarting = false }
    return watch.starts == before + 1 && watch.isStarting
  }

  @Test func newFilesStartOneRun() {
    let rule = WatchRule(source: .files(url: "/x"))
    var watch = ChangeWatch(series: "s", seen: ["a": "", "b": ""])
    #expect(!Self.starts(&watch, ["a": "", "b": ""], rule, 1))
    // Gone files are no news, and neither is one that is there already.
    #expect(!Self.starts(&watch, ["a": ""], rule, 2))
    #expect(Self.starts(&watch, ["a": "", "c": "", "d": ""], rule, 3) && watch.key(job: 7) == "trigger:7:s:1")
    #expect(!Self.starts(&watch, ["a": "", "c": "", "d": ""], rule, 4))
    #expect(Self.starts(&watch, ["b": ""], rule, 5) && watch.key(job: 7) == "trigger:7:s:2")
  }

  @Test func startsWaitForQuietAndKeepTheirDistance() {
    let rule = WatchRule(source: .files(url: "/x"), secondsBetween: 100, quietSeconds: 60)
    var watch = ChangeWatch(series: "s", seen: [:])
    var files: [String: String] = [:]
    for second: Int64 in stride(from: 0, through: 200, by: 50) {
      files["\(second)"] = ""
      #expect(!Self.starts(&watch, files, rule, second))
    }
    #expect(!Self.starts(&watch, files, rule, 259))
    #expect(Self.starts(&watch, files, rule, 260))
    files["new"] = ""
    #expect(!Self.starts(&watch, files, rule, 270) && !Self.starts(&watch, files, rule, 359))
    #expect(Self.starts(&watch, files, rule, 360) && !Self.starts(&watch, files, rule, 999))
  }

  @Test func tablesStartWhenAnyOrAllHaveNewVersions() {
    let any = WatchRule(source: .tables(["a", "b"], all: false))
    var watch = ChangeWatch(series: "s", seen: ["a": "1"])
    #expect(!Self.starts(&watch, ["a": "1"], any, 1))
    #expect(Self.starts(&watch, ["a": "1", "b": "0"], any, 2))
    // Away for a moment, or made anew.
    #expect(!Self.starts(&watch, ["b": "0"], any, 3) && !Self.starts(&watch, ["a": "1", "b": "0"], any, 4))
    #expect(Self.starts(&watch, ["a": "9:0", "b": "0"], any, 5))
    let all = WatchRule(source: .tables(["a", "b"], all: true))
    var both = ChangeWatch(series: "s", seen: ["a": "1", "b": "1"])
    #expect(!Self.starts(&both, ["a": "2", "b": "1"], all, 1) && !Self.starts(&both, ["a": "3", "b": "1"], all, 2))
    #expect(Self.starts(&both, ["a": "3", "b": "2"], all, 3))
    #expect(!Self.starts(&both, ["a": "3", "b": "3"], all, 4))
  }

  @Test func whatChangesWhileARunIsBeingStartedStartsTheNext() throws {
    let rule = WatchRule(source: .modelAliases("m", []))
    var watch = ChangeWatch(series: "s", seen: ["champion": "1"])
    watch.look(["champion": "2"], rule, at: 1)
    #expect(watch.isStarting && watch.starts == 1)
    watch.look(["champion": "3"], rule, at: 2)
    #expect(watch.isStarting && watch.starts == 1)
    // As it was stored, taken up by another process.
    var restored: ChangeWatch = try JSONValue(encoding: watch).decode()
    #expect(restored == watch)
    #expect(Self.starts(&restored, ["champion": "3"], rule, 3) == false)
    #expect(Self.starts(&restored, ["champion": "3"], rule, 4) && restored.starts == 2)
    #expect(!Self.starts(&restored, ["champion": "3"], rule, 5))
  }

  @Test func aContinuousJobAlwaysHasARunAndBacksOff() {
    var watch = ContinuousWatch(series: "s")
    func started(_ run: String) {
      watch.isStarting = false
      watch.run = run
    }
    watch.look(last: nil, isActive: true, at: 0, unit: 0)
    #expect(!watch.isStarting)
    watch.look(last: nil, isActive: false, at: 1, unit: 0)
    #expect(watch.isStarting && watch.key(job: 3) == "trigger:3:s:1")
    started("1")
    for state: RunState? in [nil, .pending, .running, .cancelling] {
      watch.look(last: state, isActive: true, at: 2, unit: 0)
      #expect(!watch.isStarting)
    }
    watch.look(last: .succeeded, isActive: false, at: 3, unit: 0)
    #expect(watch.isStarting && watch.starts == 2)
    started("2")
    var time: Int64 = 10
    var waits: [Int64] = []
    for _ in 0..<12 {
      watch.look(last: .failed, isActive: false, at: time, unit: 0)
      #expect(!watch.isStarting)
      waits.append((watch.notBefore ?? 0) - time)
      time = watch.notBefore ?? 0
      watch.look(last: nil, isActive: false, at: time - 1, unit: 0)
      #expect(!watch.isStarting)
      watch.look(last: nil, isActive: false, at: time, unit: 0)
      #expect(watch.isStarting)
      started("x")
    }
    #expect(waits.first == 2_000 && waits == waits.sorted() && waits.last == 1_800_000)
    watch.look(last: .cancelled, isActive: false, at: time + 1, unit: 0)
    #expect(watch.isStarting && watch.failures == 0)
  }

  @Test func ofMissedTimesTheLastOneIsDue() throws {
    let daily = try #require(try JobTrigger(["schedule": ["quartz_cron_expression": "0 0 3 * * ?", "timezone_id": "UTC"]]))
    let handled = try date("2026-11-20T03:00:00")
    #expect(daily.due(since: handled, now: try date("2026-11-21T02:59:59")) == nil)
    #expect(daily.due(since: handled, now: try date("2026-11-21T03:00:00")) == (try date("2026-11-21T03:00:00")))
    #expect(daily.due(since: handled, now: try date("2027-02-01T12:00:00")) == (try date("2027-02-01T03:00:00")))
    #expect(daily.due(since: try date("2026-11-21T03:00:00"), now: try date("2026-11-21T03:00:00")) == nil)
    // A clock that was set back repeats nothing.
    #expect(daily.due(since: try date("2026-11-21T03:00:00"), now: try date("2026-11-20T00:00:00")) == nil)
    let often = try #require(try JobTrigger(["schedule": ["quartz_cron_expression": "* * * * * ?", "timezone_id": "UTC"]]))
    #expect(often.due(since: handled, now: try date("2027-02-01T12:00:00")) == (try date("2027-02-01T12:00:00")))
    let periodic = try #require(try JobTrigger(["trigger": ["periodic": ["interval": 2, "unit": "DAYS"]]]))
    #expect(periodic.due(since: handled, now: try date("2026-11-22T02:00:00")) == nil)
    #expect(periodic.due(since: handled, now: try date("2026-11-25T02:00:00")) == (try date("2026-11-24T03:00:00")))
  }
}
