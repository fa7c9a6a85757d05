// SPDX-License-Identifier: Apache-2.0

import Core

/// Texts of Arrow values that JSON has no form for.
enum ArrowText {
  static func decimal(_ value: Int128, scale: Int) -> String {
    let digits = String(value.magnitude)
    let sign = value < 0 ? "-" : ""
    guard scale > 0 else { return sign + digits }
    let padded = String(repeating: "0", count: max(0, scale + 1 - digits.count)) + digits
    return sign + padded.dropLast(scale) + "." + padded.suffix(scale)
  }

  /// Days since 1970 in the proleptic Gregorian calendar.
  /// - Throws: `invalidFile` for years that the engine does not have.
  static func date(_ days: Int64) throws -> String {
    guard (-719_528...2_932_896).contains(days) else { throw PlatformError(.invalidFile, "a date lies outside of the years 0 to 9999", number: "PLT-3123") }
    // Counted from the first of March of the year 0, so that the leap day is the last of its year.
    let shifted = days + 719_468
    let era = shifted.floored(by: 146_097)
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let month = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * month + 2) / 5 + 1
    let number = month < 10 ? month + 3 : month - 9
    return "\(padded(yearOfEra + era * 400 + (number <= 2 ? 1 : 0), 4))-\(padded(number, 2))-\(padded(day, 2))"
  }

  /// - Parameter unit: 0 seconds, 1 milliseconds, 2 microseconds, 3 nanoseconds.
  static func clock(_ value: Int64, unit: Int) -> String {
    let perSecond = [1, 1000, 1_000_000, 1_000_000_000][unit]
    let seconds = value.floored(by: Int64(perSecond))
    let rest = value - seconds * Int64(perSecond)
    let text = "\(padded(seconds / 3600, 2)):\(padded(seconds / 60 % 60, 2)):\(padded(seconds % 60, 2))"
    return unit == 0 ? text : text + "." + padded(rest, unit * 3)
  }

  static func timestamp(_ value: Int64, unit: Int) throws -> String {
    let perDay: Int64 = [86_400, 86_400_000, 86_400_000_000, 86_400_000_000_000][unit]
    let days = value.floored(by: perDay)
    return try date(days) + "T" + clock(value - days * perDay, unit: unit)
  }

  private static func padded(_ value: Int64, _ width: Int) -> String {
    let text = String(value)
    return String(repeating: "0", count: max(0, width - text.count)) + text
  }
}

/// IEEE 754 half precision.
enum Float16Bits {
  static func value(_ bits: UInt16) -> Float {
    let sign: Float = bits >> 15 == 1 ? -1 : 1
    let exponent = Int(bits >> 10 & 31)
    let fraction = Float(bits & 1023)
    switch exponent {
    case 0: return sign * fraction * 0x1p-24
    case 31: return fraction == 0 ? sign * .infinity : .nan
    default: return sign * Float(sign: .plus, exponent: exponent - 15, significand: 1 + fraction / 1024)
    }
  }
}

extension Int64 {
  /// The quotient, rounded towards minus infinity.
  func floored(by divisor: Int64) -> Int64 {
    let quotient = self / divisor
    return self % divisor != 0 && (self < 0) != (divisor < 0) ? quotient - 1 : quotient
  }
}
