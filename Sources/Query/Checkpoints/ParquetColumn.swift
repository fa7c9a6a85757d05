// SPDX-License-Identifier: Apache-2.0

/// One column of one row group, unpacked: levels, and the values that are not NULL.
struct ParquetColumn {
  /// Where a text lies in `bytes`.
  struct Span {
    var start: Int32
    var count: Int32
  }

  let leaf: ParquetFooter.Leaf
  /// Definition levels, one an entry; empty where all are `onlyDefinition`.
  private var definitions: [UInt8] = []
  private var onlyDefinition: Int?
  /// Entries of each row, by the first of each, with their end; empty for columns that do not repeat: one entry a row.
  private var starts: [Int32] = []
  /// The value of each entry; empty where each has one.
  private var places: [Int32] = []
  private var numbers: [Int64] = []
  private var spans: [Span] = []
  private var bytes: [UInt8] = []
  /// The largest of the definition levels: what reaches it is there at least once.
  private(set) var largestDefinition = 0

  /// Entries of a row.
  func entries(_ row: Int) -> Range<Int> { starts.isEmpty ? row..<row + 1 : Int(starts[row])..<Int(starts[row + 1]) }
  func first(_ row: Int) -> Int { starts.isEmpty ? row : Int(starts[row]) }
  func definition(_ entry: Int) -> Int { onlyDefinition ?? Int(definitions[entry]) }
  func isNull(_ entry: Int) -> Bool { definition(entry) < leaf.definition }

  /// - Parameter entry: one that is not NULL.
  func number(_ entry: Int) -> Int64 { numbers[places.isEmpty ? entry : Int(places[entry])] }
  func span(_ entry: Int) -> Span { spans[places.isEmpty ? entry : Int(places[entry])] }

  /// - Throws: `damaged` for what is no UTF-8.
  func text(_ entry: Int) throws -> String {
    let span = span(entry)
    return try bytes.withUnsafeBufferPointer { all in
      let part = UnsafeBufferPointer(rebasing: all[Int(span.start)..<Int(span.start) + Int(span.count)])
      guard let text = String(validating: part, as: UTF8.self) else {
        throw ParquetFault.damaged("a value of '\(leaf.path.prefix(100))' is not UTF-8", offset: place)
      }
      return text
    }
  }

  func withText<T>(_ entry: Int, _ body: (UnsafeBufferPointer<UInt8>) throws -> T) rethrows -> T {
    let span = span(entry)
    return try bytes.withUnsafeBufferPointer { try body(UnsafeBufferPointer(rebasing: $0[Int(span.start)..<Int(span.start) + Int(span.count)])) }
  }

  // MARK: Reading

  /// Of the column in the file, for messages.
  private let place: Int
  private var repetitions: [UInt8] = []
  private var dictionary: Dictionary = .none

  private enum Dictionary {
    case none
    case numbers([Int64])
    case texts([Span])
    var count: Int {
      switch self {
      case .none: 0
      case .numbers(let values): values.count
      case .texts(let values): values.count
      }
    }
  }

  /// What stands in front of a page.
  private struct Header {
    /// 0: data, 2: dictionary, 3: data of the second version.
    var kind = -1
    var size = -1
    var packed = -1
    var values = -1
    var encoding = -1
    /// Of levels: 3 for runs, the only one that is not old.
    var definitionEncoding = 3
    var repetitionEncoding = 3
    var definitionBytes = 0
    var repetitionBytes = 0
    var isPacked = true

    init(_ reader: inout ThriftReader) throws {
      try reader.structure { reader, id, kind in
        switch id {
        case 1: self.kind = try reader.integer(kind)
        case 2: size = try reader.integer(kind)
        case 3: packed = try reader.integer(kind)
        case 5:
          try reader.structure(kind) { reader, id, kind in
            switch id {
            case 1: values = try reader.integer(kind)
            case 2: encoding = try reader.integer(kind)
            case 3: definitionEncoding = try reader.integer(kind)
            case 4: repetitionEncoding = try reader.integer(kind)
            default: return false
            }
            return true
          }
        case 7:
          try reader.structure(kind) { reader, id, kind in
            switch id {
            case 1: values = try reader.integer(kind)
            case 2: encoding = try reader.integer(kind)
            default: return false
            }
            return true
          }
        case 8:
          try reader.structure(kind) { reader, id, kind in
            switch id {
            case 1: values = try reader.integer(kind)
            case 4: encoding = try reader.integer(kind)
            case 5: definitionBytes = try reader.integer(kind)
            case 6: repetitionBytes = try reader.integer(kind)
            case 7: isPacked = try reader.bool(kind)
            default: return false
            }
            return true
          }
        default: return false
        }
        return true
      }
      guard size >= 0, packed >= 0, definitionBytes >= 0, repetitionBytes >= 0 else { throw reader.damaged("a page has no size") }
    }
  }

  /// - Parameters:
  ///   - end: where the file's pages end.
  ///   - levelsOnly: reads no values: which entries are NULL is all that can be asked.
  init(_ file: UnsafeRawBufferPointer, leaf: ParquetFooter.Leaf, chunk: ParquetFooter.Chunk, rows: Int, end: Int, levelsOnly: Bool = false) throws {
    self.leaf = leaf
    place = max(0, chunk.start)
    guard !chunk.hasOtherFile else { throw ParquetFault.unknown("a column in another file") }
    guard leaf.repetition <= 1, leaf.definition < 128 else { throw ParquetFault.unknown("nested lists") }
    guard levelsOnly || leaf.values.map({ Self.physical($0) == chunk.physical }) ?? false else {
      throw ParquetFault.unknown("the type of '\(leaf.path.prefix(100))'")
    }
    guard chunk.start >= 4, chunk.start <= end, chunk.values >= 0, leaf.repetition > 0 || chunk.values == rows else {
      throw ParquetFault.damaged("'\(leaf.path.prefix(100))' is not where the footer says", offset: place)
    }
    guard chunk.values < 1 << 28 else { throw ParquetFault.unknown("\(chunk.values) values in one column") }
    var offset = chunk.start
    var rest = chunk.values
    while rest > 0 {
      guard offset < end else { throw ParquetFault.damaged("'\(leaf.path.prefix(100))' ends too early", offset: offset) }
      var reader = ThriftReader(file, offset..<end)
      let header = try Header(&reader)
      let body = reader.offset
      guard header.packed <= end - body else { throw ParquetFault.damaged("a page reaches behind the file's columns", offset: offset) }
      let content = UnsafeRawBufferPointer(rebasing: file[body..<body + header.packed])
      switch header.kind {
      case 0, 3:
        guard header.values >= 0, header.values <= rest else { throw ParquetFault.damaged("a page has more values than its column", offset: offset) }
        try readData(content, header, codec: chunk.codec, place: offset, levelsOnly: levelsOnly)
        rest -= header.values
      case 2: if !levelsOnly { try readDictionary(content, header, codec: chunk.codec, place: offset) }
      case 1: break  // an index
      default: throw ParquetFault.unknown("a page of kind \(header.kind)")
      }
      offset = body + header.packed
    }
    try finish(rows: rows, entries: chunk.values)
  }

  private static func physical(_ values: ParquetFooter.Values) -> Int {
    switch values {
    case .boolean: 0
    case .int32: 1
    case .int64: 2
    case .text: 6
    }
  }

  private mutating func finish(rows: Int, entries: Int) throws {
    if leaf.repetition > 0 {
      starts.reserveCapacity(rows + 1)
      for (index, level) in repetitions.enumerated() where level == 0 { starts.append(Int32(index)) }
      guard starts.count == rows, rows == 0 || repetitions.first == 0 else {
        throw ParquetFault.damaged("'\(leaf.path.prefix(100))' has \(starts.count) rows of \(rows)", offset: place)
      }
      starts.append(Int32(entries))
      repetitions = []
    }
    let (least, largest) = (definitions.min() ?? UInt8(leaf.definition), definitions.max() ?? UInt8(leaf.definition))
    largestDefinition = Int(largest)
    if least == largest {
      onlyDefinition = Int(largest)
      definitions = []
    } else if largest == UInt8(leaf.definition) {
      places.reserveCapacity(entries)
      var next: Int32 = 0
      for level in definitions {
        places.append(next)
        if level == largest { next += 1 }
      }
    }
  }

  private mutating func readDictionary(_ content: UnsafeRawBufferPointer, _ header: Header, codec: Int, place: Int) throws {
    guard dictionary.count == 0, header.values >= 0 else { throw ParquetFault.damaged("a column has two dictionaries", offset: place) }
    guard header.encoding == 0 || header.encoding == 2 else { throw ParquetFault.unknown("a dictionary's encoding \(header.encoding)") }
    guard leaf.values != .boolean else { throw ParquetFault.unknown("a dictionary of booleans") }
    let base = bytes.count
    try ParquetCodec.unpack(content, codec: codec, size: header.size, place: place, into: &bytes)
    // It is taken out of the column's values again.
    let (numberCount, spanCount) = (numbers.count, spans.count)
    try readPlain(header.values, from: base, place: place)
    if leaf.values == .text {
      dictionary = .texts(Array(spans[spanCount...]))
      spans.removeSubrange(spanCount...)
    } else {
      dictionary = .numbers(Array(numbers[numberCount...]))
      numbers.removeSubrange(numberCount...)
    }
  }

  private mutating func readData(_ content: UnsafeRawBufferPointer, _ header: Header, codec: Int, place: Int, levelsOnly: Bool) throws {
    let count = header.values
    let base = bytes.count
    var position: Int
    if header.kind == 3 {
      // Levels lie in front of what is packed.
      let levels = header.repetitionBytes + header.definitionBytes
      guard levels <= content.count, levels <= header.size else { throw ParquetFault.damaged("levels are larger than their page", offset: place) }
      func part(_ range: Range<Int>) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: content[range]) }
      try readLevels(part(0..<header.repetitionBytes), part(header.repetitionBytes..<levels), count, place: place)
      if levelsOnly { return }
      try ParquetCodec.unpack(part(levels..<content.count), codec: header.isPacked ? codec : 0, size: header.size - levels, place: place, into: &bytes)
      position = base
    } else {
      // Writers name the old encoding for levels that there are none of.
      guard leaf.definition == 0 || header.definitionEncoding == 3, leaf.repetition == 0 || header.repetitionEncoding == 3 else {
        throw ParquetFault.unknown("levels of an old encoding")
      }
      try ParquetCodec.unpack(content, codec: codec, size: header.size, place: place, into: &bytes)
      position = base
      let page = bytes
      let used = try page.withUnsafeBytes { all -> Int in
        let all = UnsafeRawBufferPointer(rebasing: all[base...])
        var next = 0
        func levels(_ isThere: Bool) throws -> UnsafeRawBufferPointer {
          guard isThere else { return UnsafeRawBufferPointer(rebasing: all[next..<next]) }
          guard all.count - next >= 4 else { throw ParquetFault.damaged("levels are larger than their page", offset: place) }
          let size = Int(UInt32(littleEndian: all.loadUnaligned(fromByteOffset: next, as: UInt32.self)))
          next += 4
          guard size <= all.count - next else { throw ParquetFault.damaged("levels are larger than their page", offset: place) }
          next += size
          return UnsafeRawBufferPointer(rebasing: all[next - size..<next])
        }
        let repetition = try levels(leaf.repetition > 0)
        let definition = try levels(leaf.definition > 0)
        try readLevels(repetition, definition, count, place: place)
        return next
      }
      position += used
      if levelsOnly { return bytes.removeAll(keepingCapacity: true) }
    }
    let present = leaf.definition == 0 ? count : definitions.suffix(count).count { $0 == UInt8(leaf.definition) }
    switch header.encoding {
    case 0: try readPlain(present, from: position, place: place)
    case 2, 8: try readIndexes(present, from: position, place: place)
    case 3 where leaf.values == .boolean: try readBooleanRuns(present, from: position, place: place)
    default: throw ParquetFault.unknown("the encoding \(header.encoding)")
    }
    // Only texts are looked up in the pages later.
    if leaf.values != .text { bytes.removeAll(keepingCapacity: true) }
  }

  private mutating func readLevels(_ repetition: UnsafeRawBufferPointer, _ definition: UnsafeRawBufferPointer, _ count: Int, place: Int) throws {
    func width(_ limit: Int) -> Int { Int.bitWidth - limit.leadingZeroBitCount }
    if leaf.repetition > 0 {
      var runs = ParquetRuns(repetition, width: width(leaf.repetition), place: place)
      try runs.read(count, limit: leaf.repetition, into: &repetitions)
    }
    if leaf.definition > 0 {
      var runs = ParquetRuns(definition, width: width(leaf.definition), place: place)
      try runs.read(count, limit: leaf.definition, into: &definitions)
    }
  }

  /// - Parameter position: in `bytes`, which end with the page.
  private mutating func readPlain(_ count: Int, from position: Int, place: Int) throws {
    let short = ParquetFault.damaged("values of '\(leaf.path.prefix(100))' are larger than their page", offset: place)
    let left = bytes.count - position
    switch leaf.values {
    case .boolean:
      guard (count + 7) / 8 <= left else { throw short }
      for index in 0..<count { numbers.append(Int64(bytes[position + index >> 3] >> UInt8(index & 7) & 1)) }
    case .int32:
      guard count <= left / 4 else { throw short }
      bytes.withUnsafeBytes { all in
        for index in 0..<count { numbers.append(Int64(Int32(littleEndian: all.loadUnaligned(fromByteOffset: position + 4 * index, as: Int32.self)))) }
      }
    case .int64:
      guard count <= left / 8 else { throw short }
      bytes.withUnsafeBytes { all in
        for index in 0..<count { numbers.append(Int64(littleEndian: all.loadUnaligned(fromByteOffset: position + 8 * index, as: Int64.self))) }
      }
    case .text:
      guard bytes.count < Int(Int32.max) else { throw ParquetFault.unknown("a column of more than 2 GB") }
      guard count <= left / 4 else { throw short }
      spans.reserveCapacity(spans.count + count)
      try bytes.withUnsafeBytes { all in
        var next = position
        for _ in 0..<count {
          guard all.count - next >= 4 else { throw short }
          let size = Int(UInt32(littleEndian: all.loadUnaligned(fromByteOffset: next, as: UInt32.self)))
          next += 4
          guard size <= all.count - next else { throw short }
          spans.append(Span(start: Int32(next), count: Int32(size)))
          next += size
        }
      }
    case nil: throw ParquetFault.unknown("the type of '\(leaf.path.prefix(100))'")
    }
  }

  private mutating func readIndexes(_ count: Int, from position: Int, place: Int) throws {
    guard count > 0 else { return }
    guard position < bytes.count else { throw ParquetFault.damaged("indexes end too early", offset: place) }
    let width = Int(bytes[position])
    guard width <= 32, dictionary.count > 0 else { throw ParquetFault.damaged("a page needs a dictionary that is not there", offset: place) }
    var indexes: [Int32] = []
    indexes.reserveCapacity(count)
    try bytes.withUnsafeBytes { all in
      var runs = ParquetRuns(UnsafeRawBufferPointer(rebasing: all[(position + 1)...]), width: width, place: place)
      try runs.read(count, limit: dictionary.count - 1, into: &indexes)
    }
    switch dictionary {
    case .none: break
    case .numbers(let values): for index in indexes { numbers.append(values[Int(index)]) }
    case .texts(let values): for index in indexes { spans.append(values[Int(index)]) }
    }
  }

  private mutating func readBooleanRuns(_ count: Int, from position: Int, place: Int) throws {
    guard bytes.count - position >= 4 else { throw ParquetFault.damaged("values end too early", offset: place) }
    try bytes.withUnsafeBytes { all in
      let size = Int(UInt32(littleEndian: all.loadUnaligned(fromByteOffset: position, as: UInt32.self)))
      guard size <= all.count - position - 4 else { throw ParquetFault.damaged("values are larger than their page", offset: place) }
      var runs = ParquetRuns(UnsafeRawBufferPointer(rebasing: all[position + 4..<position + 4 + size]), width: 1, place: place)
      try runs.read(count, limit: 1, into: &numbers)
    }
  }
}
