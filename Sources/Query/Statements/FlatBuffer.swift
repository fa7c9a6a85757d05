// SPDX-License-Identifier: Apache-2.0

/// Writes FlatBuffers (the binary form of Arrow's messages) from a tree, parents before children. Fields are always written,
/// also where they have their default value. https://flatbuffers.dev/internals
indirect enum FlatNode {
  /// Fields by their number in the schema; nil: absent.
  case table([FlatField?])
  case string(String)
  case tables([FlatNode])
  /// A vector of structs of 64-bit numbers, each of `size` numbers.
  case structs([Int64], size: Int)
}

enum FlatField {
  case bool(Bool)
  case byte(UInt8)
  case short(Int16)
  case int(Int32)
  case long(Int64)
  case node(FlatNode)

  var size: Int {
    switch self {
    case .bool, .byte: 1
    case .short: 2
    case .int, .node: 4
    case .long: 8
    }
  }
}

struct FlatBufferWriter {
  private(set) var bytes: [UInt8] = []

  /// A finished buffer, a multiple of 8 bytes long.
  static func encode(_ root: FlatNode) -> [UInt8] {
    var writer = FlatBufferWriter()
    writer.append(UInt32(0))
    let position = writer.write(root)
    writer.patch(0, UInt32(position))
    writer.align(8)
    return writer.bytes
  }

  private mutating func append(_ value: some FixedWidthInteger) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  private mutating func align(_ size: Int, after extra: Int = 0) { while (bytes.count + extra) % size != 0 { bytes.append(0) } }

  private mutating func patch(_ position: Int, _ value: UInt32) {
    withUnsafeBytes(of: value.littleEndian) { for (index, byte) in $0.enumerated() { bytes[position + index] = byte } }
  }

  /// - Returns: where references to the node point.
  private mutating func write(_ node: FlatNode) -> Int {
    switch node {
    case .table(let fields): return write(fields)
    case .string(let text):
      align(4)
      let position = bytes.count
      append(UInt32(text.utf8.count))
      bytes += Array(text.utf8) + [0]
      return position
    case .structs(let numbers, let size):
      align(8, after: 4)
      let position = bytes.count
      append(UInt32(numbers.count / size))
      for number in numbers { append(number) }
      return position
    case .tables(let nodes):
      align(4)
      let position = bytes.count
      append(UInt32(nodes.count))
      for _ in nodes { append(UInt32(0)) }
      for (index, node) in nodes.enumerated() {
        let place = position + 4 + 4 * index
        patch(place, UInt32(write(node) - place))
      }
      return position
    }
  }

  private mutating func write(_ fields: [FlatField?]) -> Int {
    // Places behind the reference to the table of offsets, wide fields first, so that each is aligned to its size.
    var offsets = [Int](repeating: 0, count: fields.count)
    var end = 4
    for size in [8, 4, 2, 1] {
      for (index, field) in fields.enumerated() where field?.size == size {
        end = (end + size - 1) / size * size
        offsets[index] = end
        end += size
      }
    }
    align(8, after: 4 + 2 * fields.count)
    let directory = bytes.count
    append(UInt16(4 + 2 * fields.count))
    append(UInt16(end))
    for offset in offsets { append(UInt16(offset)) }
    let position = bytes.count
    append(Int32(position - directory))
    bytes += [UInt8](repeating: 0, count: end - 4)
    for (index, field) in fields.enumerated() {
      guard let field else { continue }
      let place = position + offsets[index]
      func store(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.littleEndian) { for (at, byte) in $0.enumerated() { bytes[place + at] = byte } }
      }
      switch field {
      case .bool(let flag): bytes[place] = flag ? 1 : 0
      case .byte(let value): bytes[place] = value
      case .short(let value): store(value)
      case .int(let value): store(value)
      case .long(let value): store(value)
      case .node(let node): patch(place, UInt32(write(node) - place))
      }
    }
    return position
  }
}
