// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// A value of a column, as predicates, partition values and statistics compare it.
public enum Literal: Codable, Sendable, Hashable {
  case boolean(Bool)
  case integer(Int64)
  case number(Double)
  /// Plain decimal text, such as `-12.50`.
  case decimal(String)
  case string(String)
  case binary([UInt8])
  /// Days since 1970-01-01.
  case date(Int64)
  /// Microseconds since 1970-01-01, UTC or without a zone.
  case timestamp(Int64)

  /// Text of a partition value ("Partition Value Serialization").
  /// - Throws: `invalidFile` for text that is no value of the type.
  public init(partition text: String, type: DeltaType) throws {
    let bad = PlatformError(.invalidFile, "a partition value is no \(type.label)")
    guard case .primitive(let name) = type else { throw bad }
    switch name {
    case "string": self = .string(text)
    case "boolean":
      guard let value = ["true": true, "false": false][text.lowercased()] else { throw bad }
      self = .boolean(value)
    case "byte", "short", "integer", "long":
      guard let value = Int64(text) else { throw bad }
      self = .integer(value)
    case "float", "double":
      guard let value = Double(text) else { throw bad }
      self = .number(value)
    case "date":
      guard let value = CivilTime.days(text) else { throw bad }
      self = .date(value)
    case "timestamp", "timestamp_ntz":
      guard let value = CivilTime.microseconds(text) else { throw bad }
      self = .timestamp(value)
    case "binary": self = .binary(Array(text.utf8))
    default:
      guard name.hasPrefix("decimal"), DecimalText(text) != nil else { throw bad }
      self = .decimal(text)
    }
  }

  /// The value as a partition value's text. Timestamps are ISO 8601 in UTC, as the protocol recommends.
  public func partitionText(type: DeltaType) -> String {
    switch self {
    case .boolean(let value): return value ? "true" : "false"
    case .integer(let value): return String(value)
    case .number(let value): return "\(value)"
    case .decimal(let text), .string(let text): return text
    case .binary(let bytes): return String(decoding: bytes, as: UTF8.self)
    case .date(let days): return CivilTime.dateText(days)
    case .timestamp(let value):
      return type == .primitive("timestamp_ntz") ? CivilTime.text(value, separator: " ") : CivilTime.text(value, separator: "T") + "Z"
    }
  }

  /// A minimum or maximum of a file's statistics; nil for what is none of the type.
  init?(statistic: JSONValue, type: DeltaType, isMaximum: Bool) {
    guard case .primitive(let name) = type else { return nil }
    switch (name, statistic) {
    case ("string", .string(let text)): self = .string(text)
    case ("byte", .integer(let value)), ("short", .integer(let value)), ("integer", .integer(let value)), ("long", .integer(let value)):
      self = .integer(value)
    case ("float", .integer), ("float", .number), ("double", .integer), ("double", .number): self = .number(statistic.doubleValue ?? 0)
    case ("boolean", .bool(let value)): self = .boolean(value)
    case ("date", .string(let text)):
      guard let value = CivilTime.days(text) else { return nil }
      self = .date(value)
    case ("timestamp", .string(let text)), ("timestamp_ntz", .string(let text)):
      guard let value = CivilTime.microseconds(text) else { return nil }
      self = .timestamp(value)
    case (_, .integer(let value)) where name.hasPrefix("decimal"): self = .decimal(String(value))
    case (_, .number(let value)) where name.hasPrefix("decimal"):
      guard let scale = type.decimalSize?.scale, let text = Self.decimal(value, scale: scale, isMaximum: isMaximum) else { return nil }
      self = .decimal(text)
    case (_, .string(let text)) where name.hasPrefix("decimal"):
      guard DecimalText(text) != nil else { return nil }
      self = .decimal(text)
    default: return nil
    }
  }

  /// The decimal that a number of JSON stands for, or one beyond it: readers of JSON round numbers to what a double holds, and so may the writer
  /// have done. A decimal of 15 digits comes back as it was.
  private static func decimal(_ value: Double, scale: Int, isMaximum: Bool) -> String? {
    guard value.isFinite, (0...38).contains(scale) else { return nil }
    func text(_ value: Double) -> String { String(format: "%.\(scale)f", value) }
    // The only decimal of the scale that is that near.
    if value.ulp < 0.25 * pow(10, -Double(scale)) { return text(value) }
    let bound = isMaximum ? value.nextUp.nextUp : value.nextDown.nextDown
    return bound.isFinite ? text(bound) : nil
  }

  /// -1, 0 or 1; nil for values of different kinds. Numbers of different kinds compare by value. NaN is above all.
  func compare(_ other: Literal) -> Int? {
    func order<T: Comparable>(_ left: T, _ right: T) -> Int { left < right ? -1 : (right < left ? 1 : 0) }
    switch (self, other) {
    case (.boolean(let a), .boolean(let b)): return order(a ? 1 : 0, b ? 1 : 0)
    case (.integer(let a), .integer(let b)), (.date(let a), .date(let b)), (.timestamp(let a), .timestamp(let b)): return order(a, b)
    case (.string(let a), .string(let b)):
      return a.utf8.lexicographicallyPrecedes(b.utf8) ? -1 : (b.utf8.lexicographicallyPrecedes(a.utf8) ? 1 : 0)
    case (.binary(let a), .binary(let b)):
      return a.lexicographicallyPrecedes(b) ? -1 : (b.lexicographicallyPrecedes(a) ? 1 : 0)
    case (.number, .number), (.number, .integer), (.integer, .number), (.number, .decimal), (.decimal, .number):
      guard let a = approximate, let b = other.approximate else { return nil }
      if a.isNaN || b.isNaN { return order(a.isNaN ? 1 : 0, b.isNaN ? 1 : 0) }
      return order(a, b)
    case (.decimal, .decimal), (.decimal, .integer), (.integer, .decimal):
      guard let a = decimalText, let b = other.decimalText else { return nil }
      return a.compare(b)
    case (.date(let days), .timestamp(let time)):
      let (start, overflow) = days.multipliedReportingOverflow(by: 86_400_000_000)
      return overflow ? nil : order(start, time)
    case (.timestamp, .date): return other.compare(self).map { -$0 }
    default: return nil
    }
  }

  private var approximate: Double? {
    switch self {
    case .number(let value): value
    case .integer(let value): Double(value)
    case .decimal(let text): Double(text)
    default: nil
    }
  }

  private var decimalText: DecimalText? {
    switch self {
    case .decimal(let text): DecimalText(text)
    case .integer(let value): DecimalText(String(value))
    default: nil
    }
  }
}

/// Decimal digits, compared exactly.
struct DecimalText: Sendable {
  var isNegative: Bool
  /// Without leading zeros.
  var whole: Substring
  /// Without trailing zeros.
  var fraction: Substring

  init?(_ text: String) {
    var rest = Substring(text)
    isNegative = rest.hasPrefix("-")
    if isNegative || rest.hasPrefix("+") { rest.removeFirst() }
    let parts = rest.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    guard !rest.isEmpty, rest != ".", parts.allSatisfy({ $0.utf8.allSatisfy { $0 >= 48 && $0 <= 57 } }) else { return nil }
    whole = parts[0].drop { $0 == "0" }
    fraction = parts.count > 1 ? parts[1] : ""
    while fraction.last == "0" { fraction.removeLast() }
    if whole.isEmpty && fraction.isEmpty { isNegative = false }
  }

  func compare(_ other: DecimalText) -> Int {
    if isNegative != other.isNegative { return isNegative ? -1 : 1 }
    let size: Int
    if whole.utf8.count != other.whole.utf8.count {
      size = whole.utf8.count < other.whole.utf8.count ? -1 : 1
    } else if whole != other.whole {
      size = whole < other.whole ? -1 : 1
    } else {
      size = fraction == other.fraction ? 0 : (fraction < other.fraction ? -1 : 1)
    }
    return isNegative ? -size : size
  }
}

/// Dates and times of the proleptic Gregorian calendar as text.
enum CivilTime {
  /// Days since 1970-01-01 of `yyyy-MM-dd` (H. Hinnant, "chrono-compatible low-level date algorithms").
  static func days(_ text: some StringProtocol) -> Int64? {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 3, parts.allSatisfy({ !$0.isEmpty && $0.utf8.count <= 6 && $0.utf8.allSatisfy { $0 >= 48 && $0 <= 57 } }),
      let year = Int64(parts[0]), let month = Int64(parts[1]), let day = Int64(parts[2]), (1...12).contains(month), day >= 1,
      day <= daysOf(month, year)
    else { return nil }
    let shifted = month <= 2 ? year - 1 : year
    let era = (shifted >= 0 ? shifted : shifted - 399) / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  private static func daysOf(_ month: Int64, _ year: Int64) -> Int64 {
    switch month {
    case 2: (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }

  /// `yyyy-MM-dd HH:mm:ss[.ffffff]`, or with `T`, and with `Z` or an offset such as `+02:00`; a date alone is its midnight.
  static func microseconds(_ text: String) -> Int64? {
    var rest = Substring(text)
    guard let date = days(rest.prefix(10)) else { return nil }
    rest = rest.dropFirst(10)
    let midnight = date * 86_400_000_000
    if rest.isEmpty { return midnight }
    guard rest.first == " " || rest.first == "T" else { return nil }
    rest.removeFirst()
    var offset: Int64 = 0
    if rest.hasSuffix("Z") {
      rest.removeLast()
    } else if let sign = rest.lastIndex(where: { $0 == "+" || $0 == "-" }) {
      let zone = rest[rest.index(after: sign)...].split(separator: ":", omittingEmptySubsequences: false)
      guard (1...2).contains(zone.count), let hours = number(zone[0]), hours <= 18,
        let minutes = zone.count == 2 ? number(zone[1]) : 0, minutes < 60
      else { return nil }
      offset = (hours * 60 + minutes) * 60_000_000 * (rest[sign] == "-" ? -1 : 1)
      rest = rest[..<sign]
    }
    let pieces = rest.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    let clock = pieces[0].split(separator: ":", omittingEmptySubsequences: false)
    guard (2...3).contains(clock.count), let hour = number(clock[0]), hour < 24, let minute = number(clock[1]), minute < 60,
      let second = clock.count == 3 ? number(clock[2]) : 0, second < 60
    else { return nil }
    var fraction: Int64 = 0
    if pieces.count == 2 {
      guard !pieces[1].isEmpty, pieces[1].utf8.count <= 9, let value = Int64(pieces[1]), value >= 0 else { return nil }
      var scaled = value
      for _ in pieces[1].utf8.count..<max(6, pieces[1].utf8.count) { scaled *= 10 }
      for _ in 6..<max(6, pieces[1].utf8.count) { scaled /= 10 }
      fraction = scaled
    }
    return midnight + ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction - offset
  }

  private static func number(_ text: Substring) -> Int64? {
    guard (1...2).contains(text.utf8.count), text.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }) else { return nil }
    return Int64(text)
  }

  static func dateText(_ days: Int64) -> String {
    let shifted = days &+ 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let index = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * index + 2) / 5 + 1
    let month = index < 10 ? index + 3 : index - 9
    return pad(yearOfEra + era * 400 + (month <= 2 ? 1 : 0), 4) + "-" + pad(month, 2) + "-" + pad(day, 2)
  }

  /// With six digits behind the second, unless they are zero.
  static func text(_ microseconds: Int64, separator: String) -> String {
    let day = microseconds >= 0 ? microseconds / 86_400_000_000 : (microseconds + 1) / 86_400_000_000 - 1
    let rest = microseconds - day * 86_400_000_000
    let seconds = rest / 1_000_000
    let text = dateText(day) + separator + pad(seconds / 3600, 2) + ":" + pad(seconds / 60 % 60, 2) + ":" + pad(seconds % 60, 2)
    return rest % 1_000_000 == 0 ? text : text + "." + pad(rest % 1_000_000, 6)
  }

  private static func pad(_ value: Int64, _ width: Int) -> String {
    let digits = String(value.magnitude)
    return (value < 0 ? "-" : "") + String(repeating: "0", count: max(0, width - digits.count)) + digits
  }
}

extension DeltaType {
  /// For messages, as SQL says it: `bigint`, `array`, ..
  var label: String {
    switch self {
    case .primitive("long"): "bigint"
    case .primitive("integer"): "int"
    case .primitive("short"): "smallint"
    case .primitive("byte"): "tinyint"
    case .primitive(let name): name
    case .array: "array"
    case .map: "map"
    case .structure: "struct"
    }
  }
}
