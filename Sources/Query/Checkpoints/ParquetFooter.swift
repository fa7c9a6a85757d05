// SPDX-License-Identifier: Apache-2.0

/// A column of a Parquet file, or a group of columns ("Nested Types", LogicalTypes.md).
struct ParquetNode: Sendable {
  indirect enum Kind: Sendable {
    /// Index into `ParquetFooter.leaves`.
    case leaf(Int)
    case structure([ParquetNode])
    case list(ParquetNode)
    case map(key: ParquetNode, value: ParquetNode)
    /// What this reader does not know. Its leaves are counted nevertheless.
    case other
  }

  var name: String
  var kind: Kind
  /// Definition level from which on this is not NULL.
  var definition: Int
  var leaves: Range<Int>
  /// Of the first element that a list or map has: the definition level from which on there is one.
  var elementDefinition = 0
}

/// What a Parquet file says about itself (apache/parquet-format: parquet.thrift, FileMetaData).
struct ParquetFooter {
  /// Values that this reader makes something of.
  enum Values {
    case boolean
    case int32
    case int64
    case text
  }

  struct Leaf {
    var path: String
    /// nil: of another type.
    var values: Values?
    var definition: Int
    var repetition: Int
  }

  struct Chunk {
    var physical = -1
    var codec = -1
    var values = -1
    /// Of its first page, and of the file's part that holds pages.
    var start = -1
    var hasOtherFile = false
  }

  struct Group {
    var rows = -1
    var chunks: [Chunk] = []
  }

  var columns: [ParquetNode] = []
  var leaves: [Leaf] = []
  var groups: [Group] = []
  /// Where the footer starts: pages end before.
  var start: Int

  init(_ file: UnsafeRawBufferPointer) throws {
    let magic = Array("PAR1".utf8)
    guard file.count >= 12, file.prefix(4).elementsEqual(magic) else { throw ParquetFault.damaged("it does not start as a Parquet file does", offset: 0) }
    guard file.suffix(4).elementsEqual(magic) else {
      if file.suffix(4).elementsEqual("PARE".utf8) { throw ParquetFault.unknown("an encrypted footer") }
      throw ParquetFault.damaged("it does not end as a Parquet file does", offset: file.count - 4)
    }
    let size = Int(UInt32(littleEndian: file.loadUnaligned(fromByteOffset: file.count - 8, as: UInt32.self)))
    guard size <= file.count - 12 else { throw ParquetFault.damaged("the footer is larger than the file", offset: file.count - 8) }
    start = file.count - 8 - size
    var reader = ThriftReader(file, start..<file.count - 8)
    var elements: [Element] = []
    var rows = -1
    try reader.structure { reader, id, kind in
      switch id {
      case 2: try reader.list(kind) { reader, kind in elements.append(try Element(&reader, kind)) }
      case 3: rows = try reader.integer(kind)
      case 4: try reader.list(kind) { reader, kind in groups.append(try Self.group(&reader, kind)) }
      case 8: throw ParquetFault.unknown("an encrypted file")
      default: return false
      }
      return true
    }
    guard !elements.isEmpty else { throw ParquetFault.damaged("the footer has no schema", offset: start) }
    var next = 1
    for _ in 0..<elements[0].children {
      columns.append(try node(elements, &next, definition: 0, repetition: 0, path: "", depth: 0))
    }
    guard next == elements.count else { throw ParquetFault.damaged("the schema has more columns than its groups", offset: start) }
    for group in groups where group.chunks.count != leaves.count || group.rows < 0 {
      throw ParquetFault.damaged("a row group has \(group.chunks.count) columns, the schema \(leaves.count)", offset: start)
    }
    var sum = 0
    for group in groups { sum = sum.addingReportingOverflow(group.rows).partialValue }
    guard sum == rows else { throw ParquetFault.damaged("the row groups do not have the file's rows", offset: start) }
  }

  // MARK: Schema

  private struct Element {
    var name = ""
    var physical: Int?
    /// 0: required, 1: optional, 2: repeated.
    var repetition = 0
    var children = 0
    var converted: Int?
    var logical: Int?
    /// Of an integer's logical type.
    var isSigned = true

    init(_ reader: inout ThriftReader, _ kind: ThriftReader.Kind) throws {
      try reader.structure(kind) { reader, id, kind in
        switch id {
        case 1: physical = try reader.integer(kind)
        case 3: repetition = try reader.integer(kind)
        case 4: name = try reader.text(kind)
        case 5: children = try reader.integer(kind)
        case 6: converted = try reader.integer(kind)
        case 10:
          try reader.structure(kind) { reader, id, kind in
            logical = id
            guard id == 10 else { return false }
            try reader.structure(kind) { reader, id, kind in
              guard id == 2 else { return false }
              isSigned = try reader.bool(kind)
              return true
            }
            return true
          }
        default: return false
        }
        return true
      }
      guard (0...2).contains(repetition), children >= 0 else { throw reader.damaged("a column's description is damaged") }
    }

    var values: Values? {
      switch physical {
      case 0 where converted == nil && logical == nil: .boolean
      case 1 where isInteger: .int32
      case 2 where isInteger: .int64
      case 6 where (converted == 0 && (logical ?? 1) == 1) || (converted == nil && logical == 1): .text
      default: nil
      }
    }
    private var isInteger: Bool { (converted.map { (15...18).contains($0) } ?? true) && (logical ?? 10) == 10 && isSigned }
    var isList: Bool { converted == 3 || (converted == nil && logical == 3) }
    var isMap: Bool { converted == 1 || converted == 2 || (converted == nil && logical == 2) }
    var isPlainGroup: Bool { converted == nil && logical == nil }
  }

  private mutating func node(
    _ elements: [Element], _ next: inout Int, definition outer: Int, repetition outerRepetition: Int, path: String, depth: Int
  ) throws -> ParquetNode {
    guard depth < 24 else { throw ParquetFault.unknown("a schema this deep") }
    guard next < elements.count else { throw ParquetFault.damaged("the schema's groups have more columns than it", offset: start) }
    let element = elements[next]
    next += 1
    let definition = outer + (element.repetition == 0 ? 0 : 1)
    let repetition = outerRepetition + (element.repetition == 2 ? 1 : 0)
    let path = path.isEmpty ? element.name : path + "." + element.name
    let first = leaves.count
    if let physical = element.physical, element.children == 0 {
      guard (0...7).contains(physical) else { throw ParquetFault.damaged("'\(path.prefix(100))' has no type", offset: start) }
      leaves.append(Leaf(path: path, values: element.values, definition: definition, repetition: repetition))
      return ParquetNode(name: element.name, kind: element.repetition == 2 ? .other : .leaf(first), definition: definition, leaves: first..<first + 1)
    }
    guard element.children > 0 else { throw ParquetFault.damaged("'\(path.prefix(100))' has neither a type nor columns", offset: start) }
    // A list and a map have one group between themselves and what they hold.
    let middle = next < elements.count ? elements[next] : element
    let isNested = element.children == 1 && middle.repetition == 2 && middle.children > 0 && middle.physical == nil && element.repetition != 2
    var kind = ParquetNode.Kind.other
    if isNested, element.isMap, middle.children == 2 {
      next += 1
      let key = try node(elements, &next, definition: definition + 1, repetition: repetition + 1, path: path, depth: depth + 1)
      let value = try node(elements, &next, definition: definition + 1, repetition: repetition + 1, path: path, depth: depth + 1)
      kind = .map(key: key, value: value)
    } else if isNested, element.isList, middle.children == 1, middle.name != "array", !middle.name.hasSuffix("_tuple") {
      next += 1
      kind = .list(try node(elements, &next, definition: definition + 1, repetition: repetition + 1, path: path, depth: depth + 1))
    } else {
      var members: [ParquetNode] = []
      for _ in 0..<element.children {
        members.append(try node(elements, &next, definition: definition, repetition: repetition, path: path, depth: depth + 1))
      }
      let isStructure = element.isPlainGroup && element.repetition != 2 && Set(members.map(\.name)).count == members.count
      if isStructure { kind = .structure(members) }
    }
    return ParquetNode(
      name: element.name, kind: kind, definition: definition, leaves: first..<leaves.count, elementDefinition: definition + 1)
  }

  // MARK: Row groups

  private static func group(_ reader: inout ThriftReader, _ kind: ThriftReader.Kind) throws -> Group {
    var group = Group()
    try reader.structure(kind) { reader, id, kind in
      switch id {
      case 1: try reader.list(kind) { reader, kind in group.chunks.append(try chunk(&reader, kind)) }
      case 3: group.rows = try reader.integer(kind)
      default: return false
      }
      return true
    }
    return group
  }

  private static func chunk(_ reader: inout ThriftReader, _ kind: ThriftReader.Kind) throws -> Chunk {
    var chunk = Chunk()
    try reader.structure(kind) { reader, id, kind in
      switch id {
      case 1:
        chunk.hasOtherFile = true
        return false
      case 8, 9: throw ParquetFault.unknown("an encrypted column")
      case 3:
        var (data, dictionary) = (-1, -1)
        try reader.structure(kind) { reader, id, kind in
          switch id {
          case 1: chunk.physical = try reader.integer(kind)
          case 4: chunk.codec = try reader.integer(kind)
          case 5: chunk.values = try reader.integer(kind)
          case 9: data = try reader.integer(kind)
          case 11: dictionary = try reader.integer(kind)
          default: return false
          }
          return true
        }
        // Some writers put a dictionary page in front and name the place of the data page only, or 0 for no dictionary.
        chunk.start = dictionary > 0 ? min(dictionary, data) : data
      default: return false
      }
      return true
    }
    return chunk
  }
}
