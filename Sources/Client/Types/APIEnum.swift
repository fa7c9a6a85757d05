// SPDX-License-Identifier: Apache-2.0

/// A closed set of words in a request or an answer. Read in any case of letters, written as declared.
public protocol APIEnum: RawRepresentable, CaseIterable, Codable, Sendable, Equatable where RawValue == String {}

extension APIEnum {
  public static var spellings: [String] { allCases.map(\.rawValue) }

  /// - Throws: an error naming the words that are known, at the place of the value.
  public init(from decoder: any Decoder) throws {
    let word = try decoder.singleValueContainer().decode(String.self)
    guard let known = Self.allCases.first(where: { $0.rawValue == word || $0.rawValue == word.uppercased() }) else {
      throw DecodingError.dataCorrupted(
        .init(
          codingPath: decoder.codingPath,
          debugDescription: "'\(word.prefix(60))' is none of \(Self.spellings.joined(separator: ", "))"))
    }
    self = known
  }
}

public enum TableTypeName: String, APIEnum {
  case managed = "MANAGED"
  case external = "EXTERNAL"
  case view = "VIEW"
  case materializedView = "MATERIALIZED_VIEW"
  case streamingTable = "STREAMING_TABLE"
  case metricView = "METRIC_VIEW"
}

public enum DataSourceFormatName: String, APIEnum {
  case delta = "DELTA"
  case iceberg = "ICEBERG"
  case csv = "CSV"
  case json = "JSON"
  case avro = "AVRO"
  case parquet = "PARQUET"
  case orc = "ORC"
  case text = "TEXT"
}

public enum VolumeTypeName: String, APIEnum {
  case managed = "MANAGED"
  case external = "EXTERNAL"
}

public enum ColumnTypeName: String, APIEnum {
  case boolean = "BOOLEAN"
  case byte = "BYTE"
  case short = "SHORT"
  case int = "INT"
  case long = "LONG"
  case float = "FLOAT"
  case double = "DOUBLE"
  case date = "DATE"
  case timestamp = "TIMESTAMP"
  case timestampNTZ = "TIMESTAMP_NTZ"
  case string = "STRING"
  case binary = "BINARY"
  case decimal = "DECIMAL"
  case interval = "INTERVAL"
  case array = "ARRAY"
  case `struct` = "STRUCT"
  case map = "MAP"
  case variant = "VARIANT"
  case char = "CHAR"
  case null = "NULL"
  case userDefined = "USER_DEFINED_TYPE"
  case table = "TABLE_TYPE"
}

public enum CredentialPurposeName: String, APIEnum {
  case storage = "STORAGE"
  case service = "SERVICE"
}
