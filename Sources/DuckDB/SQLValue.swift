// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation

/// One value of a row.
public enum SQLValue: Sendable, Hashable {
  case null
  case bool(Bool)
  case int(Int64)
  case double(Double)
  case string(String)
  case blob([UInt8])
  /// Days since 1970-01-01.
  case date(Int32)
  /// Microseconds since 1970-01-01T00:00:00Z.
  case timestamp(Int64)
  /// An exact decimal or a whole number wider than 64 bits, as text (`-12.50`).
  case decimal(String)
  /// A list of 32-bit floats (an embedding), kept unboxed.
  case floats([Float])
  case list([SQLValue])
  case structure([String: SQLValue])

  /// As JSON. Dates and timestamps become ISO 8601 text, decimals text, blobs base64, non-finite numbers null.
  public var json: JSONValue {
    switch self {
    case .null: .null
    case .bool(let value): .bool(value)
    case .int(let value): .integer(value)
    case .double(let value): value.isFinite ? .number(value) : .null
    case .string(let value): .string(value)
    case .blob(let bytes): .string(Data(bytes).base64EncodedString())
    case .date(let days): .string(SQLTime.date(days: days))
    case .timestamp(let micros): .string(SQLTime.timestamp(micros: micros))
    case .decimal(let text): .string(text)
    case .floats(let items): .array(items.map { $0.isFinite ? .number(Double($0)) : .null })
    case .list(let items): .array(items.map(\.json))
    case .structure(let members): .object(members.mapValues(\.json))
    }
  }

  public var stringValue: String? { if case .string(let text) = self { text } else { nil } }
  public var intValue: Int64? { if case .int(let value) = self { value } else { nil } }
  public var isNull: Bool { self == .null }
  public var doubleValue: Double? {
    switch self {
    case .double(let value): value
    case .int(let value): Double(value)
    case .decimal(let text): Double(text)
    default: nil
    }
  }
}

/// Calendar text without a formatter (proleptic Gregorian; H. Hinnant, "chrono-compatible low-level date algorithms").
public enum SQLTime {
  /// `2024-02-29`; `infinity` and `-infinity` for the ends of the range, as Postgres and DuckDB have them.
  public static func date(days: Int32) -> String {
    if days == .max || days <= -.max { return days < 0 ? "-infinity" : "infinity" }
    let z = Int64(days) + 719_468
    let era = (z >= 0 ? z : z - 146_096) / 146_097
    let dayOfEra = z - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthIndex = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * monthIndex + 2) / 5 + 1
    let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    return "\(pad(year, 4))-\(pad(month, 2))-\(pad(day, 2))"
  }

  /// `2024-02-29T12:00:00.000000Z`, without the Z where there is no zone; `infinity` and `-infinity` for the ends of the range.
  public static func timestamp(micros: Int64, hasZone: Bool = true) -> String {
    if micros == .max || micros <= -.max { return micros < 0 ? "-infinity" : "infinity" }
    let dayLength: Int64 = 86_400_000_000
    var (days, rest) = micros.quotientAndRemainder(dividingBy: dayLength)
    if rest < 0 { (days, rest) = (days - 1, rest + dayLength) }
    let seconds = rest / 1_000_000
    let clock = "\(pad(seconds / 3600, 2)):\(pad(seconds / 60 % 60, 2)):\(pad(seconds % 60, 2)).\(pad(rest % 1_000_000, 6))" + (hasZone ? "Z" : "")
    return date(days: Int32(clamping: days)) + "T" + clock
  }

  private static func pad(_ value: Int64, _ width: Int) -> String {
    let digits = String(value.magnitude)
    return (value < 0 ? "-" : "") + String(repeating: "0", count: max(0, width - digits.count)) + digits
  }
}
