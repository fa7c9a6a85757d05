// SPDX-License-Identifier: Apache-2.0

/// A moment as date and time of day in UTC, without a calendar library: days are counted as in "chrono-Compatible Low-Level Date
/// Algorithms" (H. Hinnant), in years that begin in March.
struct CivilTime: Equatable {
  var year: Int64
  var month: Int64
  var day: Int64
  var hour: Int64
  var minute: Int64
  var second: Int64
  /// 1 is Monday.
  var weekday: Int64

  init(_ milliseconds: Instant) {
    func floored(_ a: Int64, _ b: Int64) -> Int64 { (a >= 0 ? a : a - b + 1) / b }
    let seconds = floored(milliseconds, 1000)
    let days = floored(seconds, 86_400)
    let inDay = seconds - days * 86_400
    (hour, minute, second) = (inDay / 3600, inDay / 60 % 60, inDay % 60)
    weekday = (days + 3) - floored(days + 3, 7) * 7 + 1
    let shifted = days + 719_468
    let era = floored(shifted, 146_097)
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  }

  /// The arguments of `{{job.start_time.<argument>}}`.
  static func facts(_ milliseconds: Instant) -> [String: String] {
    let time = CivilTime(milliseconds)
    func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let date = "\(time.year)-\(two(time.month))-\(two(time.day))"
    return [
      "iso_date": date, "iso_datetime": "\(date)T\(two(time.hour)):\(two(time.minute)):\(two(time.second))",
      "iso_weekday": "\(time.weekday)", "is_weekday": time.weekday <= 5 ? "true" : "false", "year": "\(time.year)", "month": "\(time.month)",
      "day": "\(time.day)", "hour": "\(time.hour)", "minute": "\(time.minute)", "second": "\(time.second)", "timestamp_ms": "\(milliseconds)",
    ]
  }

  static let arguments = ["iso_date", "iso_datetime", "iso_weekday", "is_weekday", "year", "month", "day", "hour", "minute", "second", "timestamp_ms"]
}
