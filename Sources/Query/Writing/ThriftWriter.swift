// SPDX-License-Identifier: Apache-2.0

/// Writes Thrift's compact protocol, in which Parquet keeps what it says about itself. Pure.
struct ThriftWriter {
  enum Kind: UInt8 {
    case yes = 1
    case no = 2
    case byte = 3
    case int32 = 5
    case int64 = 6
    case binary = 8
    case list = 9
    case structure = 12
  }

  private(set) var bytes: [UInt8] = []
  /// The number of the field before, in the struct that is being written.
  private var last = 0

  private mutating func varint(_ value: UInt64) {
    var rest = value
    while rest > 127 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 128)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  private mutating func zigzag(_ value: Int64) { varint(UInt64(bitPattern: value << 1 ^ value >> 63)) }

  /// - Parameter id: above the one before, by less than 16: all that Parquet has.
  private mutating func field(_ id: Int, _ kind: Kind) {
    bytes.append(UInt8(id - last) << 4 | kind.rawValue)
    last = id
  }

  mutating func bool(_ id: Int, _ value: Bool) { field(id, value ? .yes : .no) }

  mutating func byte(_ id: Int, _ value: UInt8) {
    field(id, .byte)
    bytes.append(value)
  }

  mutating func int32(_ id: Int, _ value: Int) {
    field(id, .int32)
    zigzag(Int64(value))
  }

  mutating func int64(_ id: Int, _ value: Int) {
    field(id, .int64)
    zigzag(Int64(value))
  }

  mutating func text(_ id: Int, _ value: String) {
    field(id, .binary)
    text(value)
  }

  /// An element of a list.
  mutating func text(_ value: String) {
    varint(UInt64(value.utf8.count))
    bytes.append(contentsOf: value.utf8)
  }

  /// An element of a list.
  mutating func int32(_ value: Int) { zigzag(Int64(value)) }

  mutating func list<T>(_ id: Int, _ kind: Kind, _ items: [T], _ write: (inout ThriftWriter, T) -> Void) {
    field(id, .list)
    if items.count < 15 {
      bytes.append(UInt8(items.count) << 4 | kind.rawValue)
    } else {
      bytes.append(0xF0 | kind.rawValue)
      varint(UInt64(items.count))
    }
    for item in items { write(&self, item) }
  }

  mutating func structure(_ id: Int, _ body: (inout ThriftWriter) -> Void) {
    field(id, .structure)
    structure(body)
  }

  /// An element of a list, or the whole.
  mutating func structure(_ body: (inout ThriftWriter) -> Void) {
    let outer = last
    last = 0
    body(&self)
    bytes.append(0)
    last = outer
  }
}
