// SPDX-License-Identifier: Apache-2.0

/// A dictionary that is always walked in key order, so that decisions do not depend on hash seeds. Two arrays: look-up is a
/// binary search, insertion and removal move O(n) entries, walking touches memory in order and allocates nothing.
struct SortedTable<Key: Comparable & Sendable, Value: Sendable>: Sendable {
  private(set) var keys: [Key] = []
  private(set) var values: [Value] = []

  var count: Int { keys.count }
  var isEmpty: Bool { keys.isEmpty }
  var indices: Range<Int> { keys.indices }

  subscript(key: Key) -> Value? { index(of: key).map { values[$0] } }

  /// The value at a position of `keys`, read and changed in place.
  subscript(at index: Int) -> Value {
    _read { yield values[index] }
    _modify { yield &values[index] }
  }

  func index(of key: Key) -> Int? {
    let index = position(of: key)
    return index < keys.count && keys[index] == key ? index : nil
  }

  mutating func set(_ key: Key, _ value: Value) {
    let index = position(of: key)
    if index < keys.count, keys[index] == key {
      values[index] = value
    } else {
      keys.insert(key, at: index)
      values.insert(value, at: index)
    }
  }

  @discardableResult
  mutating func remove(_ key: Key) -> Value? {
    guard let index = index(of: key) else { return nil }
    keys.remove(at: index)
    return values.remove(at: index)
  }

  /// Changes the value in place; nothing happens for an unknown key.
  mutating func update(_ key: Key, _ body: (inout Value) -> Void) {
    if let index = index(of: key) { body(&values[index]) }
  }

  /// The first position whose key is not less than `key`.
  private func position(of key: Key) -> Int {
    var low = 0
    var high = keys.count
    while low < high {
      let middle = (low + high) / 2
      if keys[middle] < key { low = middle + 1 } else { high = middle }
    }
    return low
  }
}

extension SortedTable: Sequence {
  struct Iterator: IteratorProtocol {
    fileprivate let table: SortedTable
    fileprivate var index = 0

    mutating func next() -> (key: Key, value: Value)? {
      guard index < table.keys.count else { return nil }
      defer { index += 1 }
      return (table.keys[index], table.values[index])
    }
  }

  func makeIterator() -> Iterator { Iterator(table: self) }
}

extension SortedTable: Equatable where Key: Equatable, Value: Equatable {}
