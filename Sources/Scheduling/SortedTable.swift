// SPDX-License-Identifier: Apache-2.0

/// A dictionary that is always walked in key order, so that decisions do not depend on hash seeds. Insertion and removal
/// cost O(n) moves of keys; look-up is that of a dictionary.
struct SortedTable<Key: Hashable & Comparable & Sendable, Value: Sendable>: Sendable, Sequence {
  private(set) var keys: [Key] = []
  private var values: [Key: Value] = [:]

  var count: Int { keys.count }
  var isEmpty: Bool { keys.isEmpty }

  subscript(key: Key) -> Value? { values[key] }

  mutating func set(_ key: Key, _ value: Value) {
    if values.updateValue(value, forKey: key) == nil { keys.insert(key, at: position(of: key)) }
  }

  @discardableResult
  mutating func remove(_ key: Key) -> Value? {
    guard let old = values.removeValue(forKey: key) else { return nil }
    keys.remove(at: position(of: key))
    return old
  }

  /// Changes the value in place; nothing happens for an unknown key.
  mutating func update(_ key: Key, _ body: (inout Value) -> Void) {
    if values[key] != nil { body(&values[key]!) }
  }

  func makeIterator() -> AnyIterator<(key: Key, value: Value)> {
    var index = 0
    return AnyIterator {
      guard index < keys.count else { return nil }
      defer { index += 1 }
      return (keys[index], values[keys[index]]!)
    }
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

extension SortedTable: Equatable where Value: Equatable {}
