// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation

/// A cron expression as Quartz writes it: seconds, minutes, hours, day of the month, month, day of the week, and a year if wanted.
///
///     let cron = try QuartzCron("0 30 2 ? * MON-FRI")
///     let next = cron.next(after: .now, in: berlin)
///
/// Clocks that change: a time that is skipped happens when the skipped hour is over; a time that comes twice happens the first time. An
/// expression for every hour follows the hours that there are. Each time happens once.
public struct QuartzCron: Sendable, Equatable {
  /// Days of the month, or of the week.
  enum Days: Sendable, Equatable {
    case any
    case ofMonth(Set<Int>)
    /// So many days before the last one of the month.
    case lastOfMonth(Int)
    /// The weekday nearest to a day of the month; nil: the last weekday.
    case nearestWeekday(Int?)
    /// 1 is Sunday.
    case ofWeek(Set<Int>)
    case lastWeekday(Int)
    case nthWeekday(Int, Int)
  }

  let text: String
  let seconds: [Int]
  let minutes: [Int]
  let hours: [Int]
  let isEveryHour: Bool
  let days: Days
  let months: Set<Int>
  let years: Set<Int>?

  private static let monthNames = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
  private static let dayNames = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]

  // MARK: reading

  /// - Throws: `invalidArgument` PLT-4230 naming the field.
  public init(_ text: String) throws(PlatformError) {
    let fields = text.uppercased().split(whereSeparator: \.isWhitespace).map(String.init)
    guard text.utf8.count <= 200, (6...7).contains(fields.count) else {
      throw Self.bad(
        "'\(text.prefix(100))' has \(fields.count) fields",
        hint: fields.count == 5
          ? "Quartz begins with seconds: \"0 \(fields[0]) \(fields[1]) ...\", and has ? for one of the two kinds of days."
          : "Write seconds, minutes, hours, day of month, month, day of week: \"0 30 2 * * ?\".")
    }
    self.text = text
    seconds = try Self.set(fields[0], 0...59, "seconds").sorted()
    minutes = try Self.set(fields[1], 0...59, "minutes").sorted()
    hours = try Self.set(fields[2], 0...23, "hours").sorted()
    isEveryHour = hours.count == 24
    months = try Self.set(fields[4], 1...12, "month", names: Self.monthNames)
    years = fields.count == 7 && fields[6] != "*" ? try Self.set(fields[6], 1970...2099, "year") : nil
    switch (fields[3], fields[5]) {
    case ("?", "?"): throw Self.bad("both kinds of days are '?'", hint: "Write * for one of them.")
    case ("?", let week): days = try Self.ofWeek(week)
    case (let month, "?"): days = try Self.ofMonth(month)
    case ("*", "*"): days = .any
    case ("*", let week): days = try Self.ofWeek(week)
    case (let month, "*"): days = try Self.ofMonth(month)
    default: throw Self.bad("days of the month and of the week are both given", hint: "Write ? for one of them.")
    }
  }

  private static func bad(_ text: String, hint: String) -> PlatformError {
    PlatformError(.invalidArgument, "quartz_cron_expression: \(text)", hint: hint, number: "PLT-4230")
  }

  private static func ofMonth(_ text: String) throws(PlatformError) -> Days {
    if text == "*" { return .any }
    if text == "L" { return .lastOfMonth(0) }
    if text == "LW" { return .nearestWeekday(nil) }
    if text.hasPrefix("L-"), let before = Int(text.dropFirst(2)), (1...30).contains(before) { return .lastOfMonth(before) }
    if text.hasSuffix("W"), let day = Int(text.dropLast()), (1...31).contains(day) { return .nearestWeekday(day) }
    return .ofMonth(try set(text, 1...31, "day of month"))
  }

  private static func ofWeek(_ text: String) throws(PlatformError) -> Days {
    if text == "*" { return .any }
    if text == "L" { return .ofWeek([7]) }
    let parts = text.split(separator: "#", omittingEmptySubsequences: false).map(String.init)
    if parts.count == 2, let day = number(parts[0], dayNames, 1), (1...7).contains(day), let nth = Int(parts[1]), (1...5).contains(nth) {
      return .nthWeekday(day, nth)
    }
    if text.hasSuffix("L"), let day = number(String(text.dropLast()), dayNames, 1), (1...7).contains(day) { return .lastWeekday(day) }
    return .ofWeek(try set(text, 1...7, "day of week", names: dayNames))
  }

  private static func number(_ text: String, _ names: [String], _ first: Int) -> Int? {
    names.firstIndex(of: text).map { $0 + first } ?? (text.allSatisfy(\.isNumber) ? Int(text) : nil)
  }

  /// Lists, ranges and steps.
  private static func set(_ text: String, _ range: ClosedRange<Int>, _ field: String, names: [String] = []) throws(PlatformError) -> Set<Int> {
    func fail(_ part: some StringProtocol) -> PlatformError {
      bad("'\(part)' is not possible for \(field)", hint: "Use \(range.lowerBound) to \(range.upperBound), lists (1,5), ranges (1-5) and steps (0/15).")
    }
    var found: Set<Int> = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let pieces = part.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
      guard pieces.count <= 2, let base = pieces.first, !base.isEmpty else { throw fail(part) }
      var step = 1
      if pieces.count == 2 {
        guard let given = Int(pieces[1]), (1...range.upperBound).contains(given) else { throw fail(part) }
        step = given
      }
      let ends = base.split(separator: "-", omittingEmptySubsequences: false).map(String.init)
      var (first, last) = (range.lowerBound, range.upperBound)
      if base != "*" {
        guard ends.count <= 2, let start = number(ends[0], names, range.lowerBound), range.contains(start) else { throw fail(part) }
        (first, last) = (start, pieces.count == 2 ? range.upperBound : start)
        if ends.count == 2 {
          guard let end = number(ends[1], names, range.lowerBound), range.contains(end) else { throw fail(part) }
          last = end
        }
      }
      // Ranges may go round: 22-2, FRI-MON.
      if last < first { last += range.count }
      for value in stride(from: first, through: last, by: step) {
        found.insert(value > range.upperBound ? value - range.count : value)
      }
    }
    return found
  }

  // MARK: times

  /// The first time after `date`; nil when there is none in the next thirty years.
  public func next(after date: Date, in zone: TimeZone) -> Date? {
    let start = Int64(date.timeIntervalSince1970.rounded(.down))
    // A day before: what the clocks skipped happens later than it is named.
    var day = CivilDay.number(of: start + Int64(zone.secondsFromGMT(for: date))) - 1
    for _ in 0..<(366 * 30) {
      if matches(CivilDay(day)), let found = firstTime(on: day, after: start, zone) { return Date(timeIntervalSince1970: Double(found)) }
      day += 1
    }
    return nil
  }

  /// The first moment of a day after `start`, as the clocks of the zone show the expression's times.
  private func firstTime(on day: Int64, after start: Int64, _ zone: TimeZone) -> Int64? {
    func offset(_ moment: Int64) -> Int64 { Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(moment)))) }
    let (before, after) = (offset(day * 86_400 - 86_400), offset(day * 86_400 + 2 * 86_400))
    let (least, most) = (min(before, after), max(before, after))
    var best: Int64?
    for hour in hours {
      let base = day * 86_400 + Int64(hour) * 3600
      // What the clocks skip happens up to a change's length later than it is named.
      if base + 3600 - least + (most - least) <= start { continue }
      if let best, base - most > best { break }
      for minute in minutes where base + Int64(minute * 60) + 60 - least + (most - least) > start {
        for second in seconds {
          let local = base + Int64(minute * 60 + second)
          if least == most {
            if local - least > start { return local - least }
          } else {
            for moment in moments(local, zone) where moment > start { best = min(best ?? moment, moment) }
          }
        }
      }
    }
    return best
  }

  /// When the clocks show `local`, in seconds since 1970 if they stood at UTC.
  private func moments(_ local: Int64, _ zone: TimeZone) -> [Int64] {
    func offset(_ moment: Int64) -> Int64 { Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(moment)))) }
    let before = offset(local - 86_400)
    let after = offset(local + 86_400)
    let found = Set([local - before, local - after]).filter { offset($0) == local - $0 }.sorted()
    if found.count == 2 { return isEveryHour ? found : [found[0]] }
    if !found.isEmpty || isEveryHour { return found }
    // Skipped: the change of the clocks is when it happens.
    let change = zone.nextDaylightSavingTimeTransition(after: Date(timeIntervalSince1970: Double(local - before - 86_400)))
    return [change.map { Int64($0.timeIntervalSince1970) } ?? local - before]
  }

  func matches(_ day: CivilDay) -> Bool {
    guard months.contains(day.month), years?.contains(day.year) ?? true else { return false }
    let length = day.lengthOfMonth
    switch days {
    case .any: return true
    case .ofMonth(let set): return set.contains(day.day)
    case .lastOfMonth(let before): return day.day == length - before
    case .ofWeek(let set): return set.contains(day.weekday)
    case .lastWeekday(let weekday): return day.weekday == weekday && day.day + 7 > length
    case .nthWeekday(let weekday, let nth): return day.weekday == weekday && (day.day - 1) / 7 + 1 == nth
    case .nearestWeekday(let given):
      let wanted = given ?? length
      guard wanted <= length else { return false }
      let weekday = (day.weekday - 1 + (wanted - day.day) % 7 + 7) % 7 + 1
      var target = wanted
      if weekday == 7 { target = wanted > 1 ? wanted - 1 : wanted + 2 }
      if weekday == 1 { target = wanted < length ? wanted + 1 : wanted - 2 }
      return day.day == target
    }
  }
}

/// A day of the Gregorian calendar, by its number since 1970.
struct CivilDay: Equatable {
  var year: Int
  var month: Int
  var day: Int
  /// 1 is Sunday.
  var weekday: Int

  static func number(of seconds: Int64) -> Int64 { (seconds >= 0 ? seconds : seconds - 86_399) / 86_400 }

  /// As in "chrono-Compatible Low-Level Date Algorithms" (H. Hinnant), for days from 1970 on.
  init(_ number: Int64) {
    let shifted = Int(max(0, number)) + 719_468
    let era = shifted / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let fromMarch = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * fromMarch + 2) / 5 + 1
    month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    weekday = (Int(max(0, number)) + 4) % 7 + 1
  }

  var lengthOfMonth: Int {
    let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    return month == 2 ? (isLeap ? 29 : 28) : [4, 6, 9, 11].contains(month) ? 30 : 31
  }
}
