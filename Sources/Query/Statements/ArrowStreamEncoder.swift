// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// Rows as an Arrow IPC stream: one schema, record batches, an end mark. https://arrow.apache.org/docs/format/Columnar.html
struct ArrowStreamEncoder {
  private let columns: [Column]
  private let schema: [UInt8]

  init(_ columns: [Column]) {
    self.columns = columns
    let fields = columns.map { Self.field($0.name, $0.type, isNullable: true) }
    schema = Self.message(type: 1, .table([.short(0), .node(.tables(fields))]), bodyLength: 0)
  }

  func appendSchema(to out: inout [UInt8]) { out += schema }

  func appendEnd(to out: inout [UInt8]) { out += [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0] }

  /// Appends the first `rows` rows of the columns as one batch.
  func appendBatch(_ vectors: [ColumnVector], rows: Int, to out: inout [UInt8]) throws {
    var body = Body()
    for (vector, column) in zip(vectors, columns) { try body.append((0..<rows).map { vector.value($0) }, column.type) }
    let header: FlatNode = .table([
      .long(Int64(rows)), .node(.structs(body.nodes, size: 2)), .node(.structs(body.buffers, size: 2)),
    ])
    out += Self.message(type: 3, header, bodyLength: body.bytes.count)
    out += body.bytes
  }

  /// `type`: 1 schema, 3 record batch. Version 5 of the metadata is number 4.
  private static func message(type: UInt8, _ header: FlatNode, bodyLength: Int) -> [UInt8] {
    let metadata = FlatBufferWriter.encode(.table([.short(4), .byte(type), .node(header), .long(Int64(bodyLength))]))
    var out: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF]
    withUnsafeBytes(of: UInt32(metadata.count).littleEndian) { out.append(contentsOf: $0) }
    return out + metadata
  }

  private static func field(_ name: String, _ type: SQLType, isNullable: Bool) -> FlatNode {
    let (number, details, children) = describe(type)
    return .table([
      .node(.string(name)), .bool(isNullable), .byte(number), .node(.table(details)), nil, .node(.tables(children)),
    ])
  }

  /// Number in the union of types, fields of the type's table, child fields.
  private static func describe(_ type: SQLType) -> (UInt8, [FlatField?], [FlatNode]) {
    switch type {
    case .boolean: (6, [], [])
    case .tinyint: (2, [.int(8), .bool(true)], [])
    case .smallint: (2, [.int(16), .bool(true)], [])
    case .integer: (2, [.int(32), .bool(true)], [])
    case .bigint: (2, [.int(64), .bool(true)], [])
    case .hugeint: (7, [.int(38), .int(0), .int(128)], [])
    case .decimal(let width, let scale): (7, [.int(Int32(width)), .int(Int32(scale)), .int(128)], [])
    case .float: (3, [.short(1)], [])
    case .double: (3, [.short(2)], [])
    case .blob: (4, [], [])
    case .date: (8, [.short(0)], [])
    case .timestamp: (10, [.short(2)], [])
    case .timestampTZ: (10, [.short(2), .node(.string("UTC"))], [])
    case .list(let item): (12, [], [field("item", item, isNullable: true)])
    case .array(let item, let count): (16, [.int(Int32(count))], [field("item", item, isNullable: true)])
    case .structure(let fields): (13, [], fields.map { field($0.name, $0.type, isNullable: true) })
    case .map(let key, let value):
      (
        17, [.bool(false)],
        [
          .table([
            .node(.string("entries")), .bool(false), .byte(13), .node(.table([])), nil,
            .node(.tables([field("key", key, isNullable: false), field("value", value, isNullable: true)])),
          ])
        ]
      )
    case .varchar, .other: (5, [], [])
    }
  }

  /// The buffers of one batch, each padded to 8 bytes.
  private struct Body {
    var bytes: [UInt8] = []
    var nodes: [Int64] = []
    var buffers: [Int64] = []

    private mutating func add(_ data: [UInt8]) {
      buffers += [Int64(bytes.count), Int64(data.count)]
      bytes += data
      while bytes.count % 8 != 0 { bytes.append(0) }
    }

    private mutating func addBits(_ flags: [Bool]) {
      var data = [UInt8](repeating: 0, count: (flags.count + 7) / 8)
      for (index, flag) in flags.enumerated() where flag { data[index >> 3] |= 1 << UInt8(index & 7) }
      add(data)
    }

    private mutating func addNumbers<T>(_ numbers: [T]) { add(numbers.withUnsafeBytes { Array($0) }) }

    private mutating func addOffsets(_ lengths: [Int]) throws {
      var offsets: [Int32] = [0]
      offsets.reserveCapacity(lengths.count + 1)
      var end = 0
      for length in lengths {
        end += length
        guard let offset = Int32(exactly: end) else {
          throw PlatformError(.resourceExhausted, "a column holds more than 2 GB in one batch", hint: "Use fewer rows, or JSON_ARRAY.")
        }
        offsets.append(offset)
      }
      addNumbers(offsets)
    }

    mutating func append(_ values: [SQLValue], _ type: SQLType) throws {
      let nulls = values.reduce(0) { $0 + ($1.isNull ? 1 : 0) }
      nodes += [Int64(values.count), Int64(nulls)]
      if nulls == 0 { add([]) } else { addBits(values.map { !$0.isNull }) }
      switch type {
      case .boolean: addBits(values.map { $0 == .bool(true) })
      case .tinyint: addNumbers(values.map { Int8(truncatingIfNeeded: $0.intValue ?? 0) })
      case .smallint: addNumbers(values.map { Int16(truncatingIfNeeded: $0.intValue ?? 0) })
      case .integer: addNumbers(values.map { Int32(truncatingIfNeeded: $0.intValue ?? 0) })
      case .bigint: addNumbers(values.map { $0.intValue ?? 0 })
      case .float: addNumbers(values.map { Float($0.doubleValue ?? 0) })
      case .double: addNumbers(values.map { $0.doubleValue ?? 0 })
      case .hugeint, .decimal:
        addNumbers(
          values.map { value -> Int128 in
            guard case .decimal(let text) = value else { return 0 }
            return Int128(text.filter { $0 != "." }) ?? 0
          })
      case .date: addNumbers(values.map { if case .date(let days) = $0 { days } else { Int32(0) } })
      case .timestamp, .timestampTZ: addNumbers(values.map { if case .timestamp(let micros) = $0 { micros } else { Int64(0) } })
      case .varchar, .other, .blob:
        var data: [UInt8] = []
        var lengths: [Int] = []
        for value in values {
          let before = data.count
          switch value {
          case .string(let text): data += Array(text.utf8)
          case .blob(let bytes): data += bytes
          default: break
          }
          lengths.append(data.count - before)
        }
        try addOffsets(lengths)
        add(data)
      case .list(let item):
        let lists = values.map(Self.items)
        try addOffsets(lists.map(\.count))
        try append(lists.flatMap { $0 }, item)
      case .array(let item, let count):
        try append(values.flatMap { $0.isNull ? [SQLValue](repeating: .null, count: count) : Self.items($0) }, item)
      case .structure(let fields):
        for field in fields { try append(values.map { Self.member($0, field.name) }, field.type) }
      case .map(let key, let value):
        let lists = values.map(Self.items)
        try addOffsets(lists.map(\.count))
        let entries = lists.flatMap { $0 }
        nodes += [Int64(entries.count), 0]
        add([])
        try append(entries.map { Self.member($0, "key") }, key)
        try append(entries.map { Self.member($0, "value") }, value)
      }
    }

    private static func items(_ value: SQLValue) -> [SQLValue] {
      switch value {
      case .list(let items): items
      case .floats(let items): items.map { .double(Double($0)) }
      default: []
      }
    }

    private static func member(_ value: SQLValue, _ name: String) -> SQLValue {
      if case .structure(let members) = value { members[name] ?? .null } else { .null }
    }
  }
}
