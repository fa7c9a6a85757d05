// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@testable import DeltaLog

@Suite struct PredicateTests {
  /// Rows of random files against random conditions: a file with a matching row is never skipped, and partition conditions are exact.
  @Test(arguments: UInt64(1)...20) func noMatchingFileIsSkipped(_ seed: UInt64) throws {
    var random = SplitMix64(seed: seed)
    let schema = StructType(fields: [
      StructField(name: "p", type: .primitive("integer")), StructField(name: "v", type: .primitive("long")),
      StructField(name: "s", type: .structure(StructType(fields: [StructField(name: "t", type: .primitive("string"))]))),
    ])
    let skipper = FileSkipper(schema: schema, partitionColumns: ["p"])
    typealias Row = (p: Int64?, v: Int64?, t: String?)
    func maybe<T>(_ value: T) -> T? { Int.random(in: 0..<4, using: &random) == 0 ? nil : value }
    func files() -> [(AddFile, [Row])] {
      (0..<12).map { index in
        let p = maybe(Int64.random(in: 0..<3, using: &random))
        let start = Int64.random(in: 0..<10, using: &random)
        let rows: [Row] = (0..<Int.random(in: 0..<5, using: &random)).map { _ in
          (p, maybe(start + Int64.random(in: 0..<4, using: &random)), maybe(["a", "ab", "b", "é"].randomElement(using: &random)!))
        }
        var file = AddFile(path: "\(index)", partitionValues: ["p": p.map(String.init)], size: 1, modificationTime: 1)
        let (values, texts) = (rows.compactMap(\.v), rows.compactMap(\.t))
        let statistics = FileStatistics(
          numRecords: Int64(rows.count),
          columns: [
            .init(
              path: ["v"], minimum: values.min().map { .integer($0) }, maximum: values.max().map { .integer($0) },
              nullCount: Int64(rows.count - values.count)),
            .init(
              path: ["s", "t"], minimum: texts.min { $0.utf8.lexicographicallyPrecedes($1.utf8) }.map { .string($0) },
              maximum: texts.max { $0.utf8.lexicographicallyPrecedes($1.utf8) }.map { .string($0) },
              nullCount: Int64(rows.count - texts.count)),
          ])
        if Int.random(in: 0..<5, using: &random) > 0 { file.stats = statistics.json.sortedText }
        return (file, rows)
      }
    }
    let comparisons: [FilePredicate.Comparison] = [.equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual]
    func predicate(_ depth: Int, partitionOnly: Bool) -> FilePredicate {
      func column() -> ([String], Literal) {
        switch partitionOnly ? 0 : Int.random(in: 0..<3, using: &random) {
        case 0: (["P"], .integer(Int64.random(in: -1..<4, using: &random)))
        case 1: (["v"], .integer(Int64.random(in: -1..<15, using: &random)))
        default: (["s", "t"], .string(["a", "ab", "b", "é", "z", ""].randomElement(using: &random)!))
        }
      }
      switch Int.random(in: 0..<(depth > 2 ? 4 : 7), using: &random) {
      case 0, 1:
        let (name, value) = column()
        return .compare(column: name, comparisons.randomElement(using: &random)!, value)
      case 2: return .isNull(column().0)
      case 3:
        let (name, value) = column()
        return Bool.random(using: &random) ? .isNotNull(name) : .isIn(name, [value])
      case 4: return .and((0..<2).map { _ in predicate(depth + 1, partitionOnly: partitionOnly) })
      case 5: return .or((0..<2).map { _ in predicate(depth + 1, partitionOnly: partitionOnly) })
      default: return .not(predicate(depth + 1, partitionOnly: partitionOnly))
      }
    }
    func holds(_ predicate: FilePredicate, _ row: Row) -> Bool? {
      func value(_ column: [String]) -> Literal? {
        switch column.last {
        case "P": row.p.map { .integer($0) }
        case "v": row.v.map { .integer($0) }
        default: row.t.map { .string($0) }
        }
      }
      switch predicate {
      case .all: return true
      case .nothing: return false
      case .unknown: return nil
      case .isNull(let column): return value(column) == nil
      case .isNotNull(let column): return value(column) != nil
      case .isIn(let column, let values): return value(column).map { own in values.contains { own.compare($0) == 0 } }
      case .not(let part): return holds(part, row).map { !$0 }
      case .and(let parts):
        let all = parts.map { holds($0, row) }
        return all.contains(false) ? false : (all.contains(nil) ? nil : true)
      case .or(let parts):
        let all = parts.map { holds($0, row) }
        return all.contains(true) ? true : (all.contains(nil) ? nil : false)
      case .compare(let column, let comparison, let constant):
        guard let order = value(column)?.compare(constant) else { return nil }
        switch comparison {
        case .equal: return order == 0
        case .notEqual: return order != 0
        case .less: return order < 0
        case .lessOrEqual: return order <= 0
        case .greater: return order > 0
        case .greaterOrEqual: return order >= 0
        }
      }
    }
    var skipped = 0
    for _ in 0..<60 {
      let condition = predicate(0, partitionOnly: false)
      let exact = predicate(0, partitionOnly: true)
      for (file, rows) in files() {
        let may = skipper.mayMatch(file, condition)
        if !may { skipped += 1 }
        #expect(may || !rows.contains { holds(condition, $0) == true }, "seed \(seed): \(condition.text)")
        let row: Row = (file.partitionValues["p"]!.flatMap { Int64($0) }, nil, nil)
        #expect(try skipper.matchesWholePartition(file.partitionValues, exact) == (holds(exact, row) == true), "seed \(seed): \(exact.text)")
      }
    }
    #expect(skipped > 20)
  }

  @Test func valuesCompareByTheirKind() {
    let ascending: [[Literal]] = [
      [.integer(-5), .integer(0), .number(0.5), .decimal("0.75"), .integer(1), .number(.infinity), .number(.nan)],
      [.decimal("-10.5"), .decimal("-2"), .decimal("-0.01"), .decimal("0.0"), .decimal("0.009"), .decimal("2"), .decimal("10")],
      [.string(""), .string("A"), .string("a"), .string("é"), .string("\u{10FFFF}")], [.boolean(false), .boolean(true)],
      [.date(-1), .timestamp(-1), .date(0), .timestamp(1)], [.binary([]), .binary([0]), .binary([0, 1]), .binary([255])],
    ]
    for list in ascending {
      for (i, left) in list.enumerated() {
        for (j, right) in list.enumerated() { #expect(left.compare(right) == (i - j).signum(), "\(left) \(right)") }
      }
    }
    #expect(Literal.string("a").compare(.integer(1)) == nil)
    #expect(Literal.decimal("12345678901234567890.10").compare(.decimal("12345678901234567890.1")) == 0)
  }

  @Test(arguments: [
    ("1970-01-01", Int64(0)), ("1970-01-01 00:00:00.000001", 1), ("1970-01-01T00:00:01Z", 1_000_000), ("2020-02-29 12:34:56.5", 1_582_979_696_500_000),
    ("1969-12-31 23:59:59.999999", -1), ("2000-01-01T00:00:00+02:00", 946_677_600_000_000), ("0001-01-01 00:00:00", -62_135_596_800_000_000),
    ("9999-12-31 23:59:59.999999", 253_402_300_799_999_999), ("2020-01-01T00:00:00.123Z", 1_577_836_800_123_000), ("2020-01-01 00:00", 1_577_836_800_000_000),
  ]) func timesAreReadAndWritten(_ text: String, _ expected: Int64) throws {
    #expect(CivilTime.microseconds(text) == expected)
    let type = DeltaType.primitive("timestamp")
    #expect(try Literal(partition: Literal.timestamp(expected).partitionText(type: type), type: type) == .timestamp(expected))
  }

  @Test(arguments: ["2020-02-30", "2020-13-01", "x", "", "2020-01-01 25:00:00", "2020-01-01T00:00:00+99:00", "2020-01-01 00:00:00.", "2020-1", "-2020-01-01"])
  func badTimesAreRefused(_ text: String) { #expect(CivilTime.microseconds(text) == nil) }

  @Test func daysSurviveTheirText() {
    for days in stride(from: Int64(-719_162), through: 2_932_896, by: 997) { #expect(CivilTime.days(CivilTime.dateText(days)) == days) }
  }

  @Test func partitionValuesFollowTheirTypes() throws {
    let cases: [(String, Literal, String)] = [
      ("string", .string("é x"), "é x"), ("integer", .integer(-4), "-4"), ("double", .number(0.5), "0.5"), ("boolean", .boolean(true), "true"),
      ("date", .date(1), "1970-01-02"), ("timestamp_ntz", .timestamp(5), "1970-01-01 00:00:00.000005"),
      ("timestamp", .timestamp(0), "1970-01-01T00:00:00Z"), ("decimal(5,2)", .decimal("-1.50"), "-1.50"), ("binary", .binary([0, 0xC3, 0x88]), "\u{0}\u{C8}"),
    ]
    for (type, value, text) in cases {
      #expect(value.partitionText(type: .primitive(type)) == text)
      #expect(try Literal(partition: text, type: .primitive(type)) == value)
    }
    for (type, text) in [("integer", "x"), ("boolean", "1"), ("date", "2020"), ("decimal(5,2)", "1e5"), ("double", "one")] {
      #expect(errorCode { _ = try Literal(partition: text, type: .primitive(type)) } == .invalidFile)
    }
  }

  @Test func textBoundsAreCutSafely() throws {
    let long = String(repeating: "ä", count: 40)
    #expect(FileStatistics.truncatedMinimum(long) == String(repeating: "ä", count: 32))
    #expect(FileStatistics.truncatedMaximum(long) == String(repeating: "ä", count: 32) + "\u{10FFFF}")
    #expect(FileStatistics.truncatedMaximum("short") == "short")
    let highest = String(repeating: "\u{10FFFF}", count: 40)
    #expect(FileStatistics.truncatedMaximum(highest) == highest)
    #expect(FileStatistics.truncatedMaximum(String(repeating: "\u{10FFFF}", count: 70)) == nil)
    var random = SplitMix64(seed: 5)
    let alphabet: [Unicode.Scalar] = ["a", "z", "é", "\u{FFFF}", "😀", "\u{10FFFF}"]
    for _ in 0..<500 {
      let text = String(String.UnicodeScalarView((0..<Int.random(in: 0..<60, using: &random)).map { _ in alphabet.randomElement(using: &random)! }))
      #expect(Literal.string(FileStatistics.truncatedMinimum(text)).compare(.string(text))! <= 0)
      if let cut = FileStatistics.truncatedMaximum(text) { #expect(Literal.string(cut).compare(.string(text))! >= 0) }
    }
  }

  @Test func statisticsLeaveOutWhatHasNoOrder() throws {
    let statistics = FileStatistics(
      numRecords: 3, hasTightBounds: false,
      columns: [
        .init(path: ["f"], minimum: .number(1), maximum: .number(2), nullCount: 0, hasNaN: true),
        .init(path: ["g", "h"], minimum: .timestamp(-1), maximum: .timestamp(1_999), nullCount: 1),
        .init(path: ["b"], minimum: .boolean(false), maximum: .boolean(true), nullCount: 0), .init(path: ["i"], maximum: .number(.infinity)),
        .init(path: ["d"], minimum: .decimal("1.25"), maximum: .decimal("123456789012345678.1234567")),
      ])
    #expect(
      JSONText.text(of: statistics.json)
        == #"{"maxValues":{"g":{"h":"1970-01-01T00:00:00.001Z"}},"minValues":{"d":1.25,"g":{"h":"1969-12-31T23:59:59.999Z"}},"nullCount":{"b":0,"f":0,"g":{"h":1}},"numRecords":3,"tightBounds":false}"#
    )
  }

  /// Bounds of decimals and of floating point numbers, through their JSON: no file is left out that has a matching row, and where they are known to
  /// the digit, none is kept that has not.
  @Test func boundsOfFractionsAreKept() throws {
    var random = SplitMix64(seed: 11)
    func digits(_ count: Int) -> String { (0..<count).map { _ in String(Int.random(in: 0..<10, using: &random)) }.joined() }
    for round in 0..<400 {
      let scale = Int.random(in: 0...6, using: &random)
      let isShort = round % 2 == 0
      let precision = isShort ? 15 : 38
      let schema = StructType(fields: [StructField(name: "d", type: .primitive("decimal(\(precision),\(scale))"))])
      let values = (0..<3).map { _ -> String in
        let whole = digits(Int.random(in: 1...(precision - scale), using: &random))
        return (Bool.random(using: &random) ? "-" : "") + whole + (scale > 0 ? "." + digits(scale) : "")
      }
      let literals = values.map { Literal.decimal($0) }.sorted { ($0.compare($1) ?? 0) < 0 }
      let statistics = FileStatistics(numRecords: 3, columns: [.init(path: ["d"], minimum: literals[0], maximum: literals[2], nullCount: 0)])
      var file = AddFile(path: "x", partitionValues: [:], size: 1, modificationTime: 1)
      file.stats = JSONText.text(of: statistics.json)
      let skipper = FileSkipper(schema: schema, partitionColumns: [])
      for literal in literals {
        #expect(skipper.mayMatch(file, .compare(column: ["d"], .equal, literal)), "\(values): \(file.stats ?? "")")
      }
      let isBounded =
        isShort
        && literals.allSatisfy { literal in
          guard case .decimal(let text) = literal, let number = Double(text) else { return false }
          return number == 0 || number.magnitude >= 1e-4
        }
      guard isBounded else { continue }
      #expect(!skipper.mayMatch(file, .compare(column: ["d"], .less, literals[0])), "\(values): \(file.stats ?? "")")
      #expect(!skipper.mayMatch(file, .compare(column: ["d"], .greater, literals[2])), "\(values): \(file.stats ?? "")")
    }
    let schema = StructType(fields: [StructField(name: "f", type: .primitive("double"))])
    let skipper = FileSkipper(schema: schema, partitionColumns: [])
    func mayMatch(_ stats: String, _ comparison: FilePredicate.Comparison, _ value: Double) -> Bool {
      var file = AddFile(path: "x", partitionValues: [:], size: 1, modificationTime: 1)
      file.stats = stats
      return skipper.mayMatch(file, .compare(column: ["f"], comparison, .number(value)))
    }
    let ours = JSONText.text(
      of: FileStatistics(numRecords: 3, columns: [.init(path: ["f"], minimum: .number(0.1), maximum: .number(7.3), nullCount: 0)]).json)
    #expect(ours.contains(#""nanCount":{"f":0}"#))
    #expect(!mayMatch(ours, .greater, 7.3) && mayMatch(ours, .greaterOrEqual, 7.3) && !mayMatch(ours, .less, 0.1))
    // Others do not say whether they have looked for NaN, which is above all numbers.
    let others = #"{"numRecords":3,"minValues":{"f":0.1},"maxValues":{"f":7.3},"nullCount":{"f":0}}"#
    #expect(mayMatch(others, .greater, 7.3) && !mayMatch(others, .less, 0.1))
  }

  @Test func statisticsColumnsFollowTheProperties() throws {
    let inner = StructType(fields: [StructField(name: "x", type: .primitive("long")), StructField(name: "y", type: .primitive("long"))])
    let schema = StructType(fields: [
      StructField(name: "p", type: .primitive("long")), StructField(name: "s", type: .structure(inner)), StructField(name: "z", type: .primitive("long")),
    ])
    func names(_ configuration: [String: String]) throws -> [String] {
      let metadata = TableMetadata(schema: schema, partitionColumns: ["p"], configuration: configuration)
      let snapshot = Snapshot(
        version: 0, tableProtocol: TableProtocol(), metadata: metadata, schema: schema, filesByPath: [:], transactions: [:], domains: [:],
        tombstones: [:])
      return FileStatistics.columns(of: snapshot).map { $0.path.joined(separator: ".") }
    }
    #expect(try names([:]) == ["s.x", "s.y", "z"])
    #expect(try names(["delta.dataSkippingNumIndexedCols": "2"]) == ["s.x", "s.y"])
    #expect(try names(["delta.dataSkippingNumIndexedCols": "0"]) == [])
    #expect(try names(["delta.dataSkippingStatsColumns": "Z, `s`.y"]) == ["s.y", "z"])
  }

  @Test func propertiesAreRead() {
    #expect(TableProperties.milliseconds("interval 7 days") == Int64(604_800_000))
    #expect(TableProperties.milliseconds("INTERVAL 1 week 2 hours") == Int64(612_000_000))
    #expect(TableProperties.milliseconds("30 days") == Int64(2_592_000_000))
    for text in ["", "interval", "7", "interval x days", "interval 9223372036854775807 weeks", "1 month"] { #expect(TableProperties.milliseconds(text) == nil) }
    #expect(TableProperties.bytes("128mb") == 128 << 20 && TableProperties.bytes("0") == nil && TableProperties.bytes("1x") == nil)
    for (name, value) in [
      ("delta.appendOnly", "yes"), ("delta.checkpointInterval", "0"), ("delta.isolationLevel", "Snapshot"), ("delta.logRetentionDuration", "soon"),
      ("delta.checkpointPolicy", "v3"),
    ] {
      #expect(errorText { try TableProperties([name: value]).validate() }?.contains(name) == true)
    }
    #expect(TableProperties(["delta.appendOnly": "TRUE"]).isAppendOnly && TableProperties([:]).checkpointInterval == 100)
  }
}
