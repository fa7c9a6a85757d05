// SPDX-License-Identifier: Apache-2.0

public import Core

/// The statistics of a data file, as the `stats` text of an `add` action holds them ("Per-file Statistics").
public struct FileStatistics: Sendable, Hashable {
  /// One column of a file, by the path of its physical names.
  public struct ColumnStatistics: Sendable, Hashable {
    public var path: [String]
    /// nil: no value, or values that have no bounds.
    public var minimum: Literal?
    public var maximum: Literal?
    public var nullCount: Int64?
    /// A NaN among the values: it has no place in JSON and no order that readers agree on, so the bounds are left out.
    public var hasNaN: Bool

    public init(path: [String], minimum: Literal? = nil, maximum: Literal? = nil, nullCount: Int64? = nil, hasNaN: Bool = false) {
      self.path = path
      self.minimum = minimum
      self.maximum = maximum
      self.nullCount = nullCount
      self.hasNaN = hasNaN
    }
  }

  public var numRecords: Int64
  /// Whether the bounds occur in the file; false once rows were deleted by a vector.
  public var hasTightBounds: Bool
  public var columns: [ColumnStatistics]

  public init(numRecords: Int64, hasTightBounds: Bool = true, columns: [ColumnStatistics] = []) {
    self.numRecords = numRecords
    self.hasTightBounds = hasTightBounds
    self.columns = columns
  }

  /// A member of ours besides those of the protocol: how many values of a column of floating point numbers are NaN, where it is known to be none.
  static let nanCount = "nanCount"

  /// Characters of a text bound.
  public static let stringLimit = 32

  /// The `stats` value of an `add` action.
  public var json: JSONValue {
    var minimum: JSONValue = [:]
    var maximum: JSONValue = [:]
    var nulls: JSONValue = [:]
    var nans: JSONValue = [:]
    for column in columns {
      if let count = column.nullCount { nulls.set(column.path, .integer(count)) }
      guard !column.hasNaN else { continue }
      if let value = column.minimum.flatMap({ Self.bound($0, isMaximum: false) }) { minimum.set(column.path, value) }
      if let value = column.maximum.flatMap({ Self.bound($0, isMaximum: true) }) { maximum.set(column.path, value) }
      if case .number(let value)? = column.maximum, value.isFinite { nans.set(column.path, 0) }
    }
    var members: [String: JSONValue] = [
      "numRecords": .integer(numRecords), "minValues": minimum, "maxValues": maximum, "nullCount": nulls,
    ]
    if nans != [:] { members[Self.nanCount] = nans }
    if !hasTightBounds { members["tightBounds"] = false }
    return .object(members)
  }

  /// A bound as JSON; nil when it has none.
  static func bound(_ value: Literal, isMaximum: Bool) -> JSONValue? {
    switch value {
    case .boolean, .binary: return nil
    case .integer(let number): return .integer(number)
    case .number(let number): return number.isFinite ? .number(number) : nil
    case .decimal(let text):
      guard let whole = Int64(text) else { return decimalBound(text, isMaximum: isMaximum).map { .number($0) } }
      return .integer(whole)
    case .string(let text):
      if isMaximum { return truncatedMaximum(text).map { .string($0) } }
      return .string(truncatedMinimum(text))
    case .date(let days): return .string(CivilTime.dateText(days))
    case .timestamp(let microseconds):
      // Down to milliseconds, also for the maximum: readers know that.
      guard microseconds > .min + 1000 else { return nil }
      let down = microseconds >= 0 ? microseconds / 1000 * 1000 : (microseconds - 999) / 1000 * 1000
      let text = CivilTime.text(down, separator: "T")
      let seconds = text.prefix { $0 != "." }
      let fraction = text.count > seconds.count ? text.dropFirst(seconds.count + 1).prefix(3) : "000"
      return .string("\(seconds).\(fraction)Z")
    }
  }

  /// JSON readers take numbers for doubles: what a double cannot hold is rounded away from the values. nil for numbers that are written with exponents,
  /// which not every reader takes for decimals.
  private static func decimalBound(_ text: String, isMaximum: Bool) -> Double? {
    guard let exact = DecimalText(text), let nearest = Double(text), nearest == 0 || (1e-4..<1e15).contains(nearest.magnitude) else { return nil }
    // As many digits come back as they were.
    if exact.whole.utf8.count + exact.fraction.utf8.count <= 15 { return nearest }
    return isMaximum ? nearest.nextUp : nearest.nextDown
  }

  /// The first characters: not above the text itself.
  static func truncatedMinimum(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.prefix(stringLimit)))
  }

  /// The first characters and a tie-breaker that is above whatever was cut off. nil when no text of at most twice the length is.
  static func truncatedMaximum(_ text: String) -> String? {
    let scalars = Array(text.unicodeScalars)
    guard scalars.count > stringLimit else { return text }
    let last = Unicode.Scalar(0x10FFFF as UInt32)!
    // A cut that is followed by the highest scalar itself would need the tie-breaker to be higher still: cut later.
    for end in stringLimit..<min(scalars.count, 2 * stringLimit) where scalars[end] != last {
      return String(String.UnicodeScalarView(scalars[..<end] + [last]))
    }
    return scalars.count <= 2 * stringLimit ? text : nil
  }

  /// Which columns statistics are collected for: those that the table's properties name, or its leading ones, nested fields
  /// counted each. Partition columns have none.
  public static func columns(of snapshot: Snapshot) -> [(path: [String], type: DeltaType)] {
    columns(of: snapshot.schema, partitionColumns: snapshot.metadata.partitionColumns, snapshot.properties)
  }

  /// The same for a table that is not there yet.
  public static func columns(
    of schema: StructType, partitionColumns: [String], _ properties: TableProperties
  ) -> [(path: [String], type: DeltaType)] {
    let partition = Set(partitionColumns)
    var found: [(display: [String], path: [String], type: DeltaType)] = []
    func collect(_ type: StructType, _ display: [String], _ path: [String]) {
      for field in type.fields where !(display.isEmpty && partition.contains(field.name)) {
        if case .structure(let inner) = field.type {
          collect(inner, display + [field.name], path + [field.physicalName])
        } else {
          found.append((display + [field.name], path + [field.physicalName], field.type))
        }
      }
    }
    collect(schema, [], [])
    if let named = properties.statisticsColumns?.map({ $0.lowercased() }) {
      found = found.filter { leaf in
        let name = leaf.display.joined(separator: ".").lowercased()
        return named.contains { name == $0 || name.hasPrefix($0 + ".") }
      }
    } else if properties.indexedColumnCount >= 0 {
      found = Array(found.prefix(properties.indexedColumnCount))
    }
    return found.map { ($0.path, $0.type) }
  }

  // MARK: Texts

  /// `numRecords` of a `stats` text, without reading the rest into memory.
  static func rowCount(in text: String) -> Int64? {
    // Statistics are optional: what cannot be read counts as absent.
    try? JSONScanner.scan(text) { scanner in
      var rows: Int64?
      try scanner.members { scanner, key in
        if key == "numRecords" { rows = try scanner.sizeOrNull() } else { try scanner.skip() }
      }
      return rows
    }
  }

  /// Without members that are null, as a struct column of a checkpoint has them for every column without a value.
  static func withoutNulls(_ value: JSONValue) -> JSONValue {
    guard case .object(let members) = value else { return value }
    return .object(members.filter { $0.value != .null }.mapValues(withoutNulls))
  }

  /// A `stats` text whose bounds count as wide.
  static func withWideBounds(_ text: String) -> String {
    guard case .object(var members)? = try? JSONScanner.value(text) else { return text }  // unreadable stays unreadable
    members["tightBounds"] = false
    return JSONText.text(of: .object(members))
  }
}

extension JSONValue {
  /// Sets the member that `path` leads to, making the objects on the way.
  fileprivate mutating func set(_ path: [String], _ value: JSONValue) {
    guard let first = path.first else {
      self = value
      return
    }
    var members = objectValue ?? [:]
    var inner = members[first] ?? [:]
    inner.set(Array(path.dropFirst()), value)
    members[first] = inner
    self = .object(members)
  }
}
