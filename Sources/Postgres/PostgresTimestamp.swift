// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// `timestamptz` in the text form of `DateStyle = ISO` and `TimeZone = UTC`, which the pool sets on every connection.
/// Calendar arithmetic after Howard Hinnant, "chrono-compatible low-level date algorithms" (days_from_civil, civil_from_days).
enum PostgresTimestamp {
  /// Years 1 to 9999.
  private static let secondsRange = -62_135_596_800.0..<253_402_300_800.0

  static func text(_ date: Date) throws -> String {
    if date == .distantFuture { return "infinity" }
    if date == .distantPast { return "-infinity" }
    let seconds = date.timeIntervalSince1970
    guard secondsRange.contains(seconds) else {
      throw PlatformError(.invalidArgument, "a timestamp outside the years 1 to 9999 cannot be stored")
    }
    // Rounded in one step, so that 0.9999999 carries into the next second. The range above keeps this below 2^58.
    let microseconds = Int64((seconds * 1e6).rounded())
    let (day, rest) = floorDivide(microseconds, 86_400_000_000)
    let (year, month, dayOfMonth) = civil(day)
    let second = rest / 1_000_000
    return pad(year, 4) + "-" + pad(month, 2) + "-" + pad(dayOfMonth, 2) + " " + pad(second / 3600, 2) + ":"
      + pad(second / 60 % 60, 2) + ":" + pad(second % 60, 2) + "." + pad(rest % 1_000_000, 6) + "+00"
  }

  /// Reads `2026-11-21 04:17:43.123456+00`, with or without fraction and offset, and a plain date.
  static func parse(_ text: String) -> Date? {
    if text == "infinity" { return .distantFuture }
    if text == "-infinity" { return .distantPast }
    var bytes = Array(text.utf8)[...]
    func number(digits: ClosedRange<Int>) -> Int64? {
      var value: Int64 = 0
      var count = 0
      while let byte = bytes.first, byte >= 48, byte <= 57, count < digits.upperBound {
        value = value * 10 + Int64(byte - 48)
        count += 1
        bytes.removeFirst()
      }
      return digits.contains(count) ? value : nil
    }
    func take(_ byte: Character) -> Bool {
      guard bytes.first == byte.asciiValue else { return false }
      bytes.removeFirst()
      return true
    }
    guard let year = number(digits: 4...6), take("-"), let month = number(digits: 2...2), take("-"),
      let day = number(digits: 2...2)
    else { return nil }
    var microseconds = days(year, month, day) * 86_400_000_000
    if take(" ") || take("T") {
      guard let hour = number(digits: 2...2), take(":"), let minute = number(digits: 2...2), take(":"),
        let second = number(digits: 2...2)
      else { return nil }
      microseconds += ((hour * 60 + minute) * 60 + second) * 1_000_000
      if take(".") {
        let before = bytes.count
        guard var fraction = number(digits: 1...6) else { return nil }
        for _ in (before - bytes.count)..<6 { fraction *= 10 }
        microseconds += fraction
      }
      let ahead = bytes.first == UInt8(ascii: "+")
      if ahead || bytes.first == UInt8(ascii: "-") {
        bytes.removeFirst()
        guard let hours = number(digits: 2...2) else { return nil }
        let minutes = take(":") ? number(digits: 2...2) ?? 0 : 0
        microseconds -= (ahead ? 1 : -1) * (hours * 60 + minutes) * 60_000_000
      }
    }
    guard bytes.isEmpty else { return nil }  // "BC" and anything unknown
    return Date(timeIntervalSince1970: Double(microseconds) / 1e6)
  }

  private static func floorDivide(_ value: Int64, _ by: Int64) -> (Int64, Int64) {
    let quotient = value / by
    let rest = value % by
    return rest < 0 ? (quotient - 1, rest + by) : (quotient, rest)
  }

  private static func pad(_ value: Int64, _ width: Int) -> String {
    let digits = String(value)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }

  private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let y = month <= 2 ? year - 1 : year
    let (era, yearOfEra) = floorDivide(y, 400)
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  private static func civil(_ days: Int64) -> (Int64, Int64, Int64) {
    let (era, dayOfEra) = floorDivide(days + 719_468, 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
  }
}
