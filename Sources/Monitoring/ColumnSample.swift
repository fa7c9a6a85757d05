// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import Query

/// The values of one column: numbers, or categories with their counts.
public struct ColumnSample: Sendable, Equatable {
  public var rows: Int
  public var nulls: Int
  /// Finite numbers in order of size; nil for a column of categories. The length counts for texts above 64 characters.
  public var numbers: [Double]?
  public var categories: [String: Int]

  public init(numbers: [Double], nulls: Int = 0) {
    self.numbers = numbers.filter(\.isFinite).sorted()
    self.nulls = nulls + numbers.count - (self.numbers?.count ?? 0)
    rows = numbers.count + nulls
    categories = [:]
  }

  public init(categories values: [String], nulls: Int = 0) {
    rows = values.count + nulls
    self.nulls = nulls
    // Long free text has no categories worth counting; its length is what can drift.
    if values.contains(where: { $0.utf8.count > 64 }) {
      numbers = values.map { Double($0.count) }.sorted()
      categories = [:]
    } else {
      numbers = nil
      categories = values.reduce(into: [:]) { $0[$1, default: 0] += 1 }
    }
  }

  static func read(_ files: [String], _ column: String) throws -> ColumnSample {
    guard !files.isEmpty else { return ColumnSample(numbers: []) }
    let scan = try ParquetScan(files: files, columns: [column])
    var numbers: [Double] = []
    var texts: [String] = []
    var nulls = 0
    var isNumber = false
    while let chunk = try scan.next() {
      let values = chunk.column(0)
      switch values.type {
      case .tinyint, .smallint, .integer, .bigint, .float, .double: isNumber = true
      default: isNumber = false
      }
      for row in 0..<chunk.count {
        if values.isNull(row) {
          nulls += 1
        } else if isNumber {
          numbers.append(values.type == .float || values.type == .double ? values.double(row) : Double(values.int64(row)))
        } else if values.type == .varchar {
          texts.append(values.string(row))
        } else {
          texts.append(values.value(row).json.sortedText)
        }
      }
    }
    return isNumber ? ColumnSample(numbers: numbers, nulls: nulls) : ColumnSample(categories: texts, nulls: nulls)
  }

  struct Profile {
    var distinct: Int
    var mean: Double?
    var deviation: Double?
    var minimum: String?
    var maximum: String?
  }

  var profile: Profile {
    guard let numbers else {
      return Profile(distinct: categories.count, minimum: categories.keys.min(), maximum: categories.keys.max())
    }
    guard let first = numbers.first, let last = numbers.last else { return Profile(distinct: 0) }
    let mean = numbers.reduce(0, +) / Double(numbers.count)
    let variance = numbers.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(max(1, numbers.count - 1))
    var distinct = 1
    for (a, b) in zip(numbers, numbers.dropFirst()) where a != b { distinct += 1 }
    return Profile(distinct: distinct, mean: mean, deviation: variance.squareRoot(), minimum: "\(first)", maximum: "\(last)")
  }
}
