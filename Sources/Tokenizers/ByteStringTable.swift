// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Byte strings interned to dense indices 0, 1, 2, ...: open addressing over one buffer of bytes.
///
/// Grows only while one thread builds it; afterwards it is read-only, which is why sharing it is safe. (Swift's own
/// dictionaries compare strings by canonical equivalence, under which distinct vocabulary entries would be one.)
final class ByteStringTable: @unchecked Sendable {
  private var storage: UnsafeMutablePointer<UInt8>
  private var storageCapacity: Int
  private(set) var storageCount = 0
  /// offsets[i] ..< offsets[i + 1] are the bytes of string i.
  private var offsets: UnsafeMutablePointer<Int>
  private var hashes: UnsafeMutablePointer<UInt64>
  private var indexCapacity: Int
  private(set) var count = 0
  /// Index + 1 of a string, 0 for an empty slot. The number of slots is a power of two.
  private var slots: UnsafeMutablePointer<Int32>
  private var slotMask: Int

  init(minimumCapacity: Int = 64) {
    indexCapacity = max(16, minimumCapacity)
    storageCapacity = indexCapacity * 8
    var slotCount = 32
    while slotCount < indexCapacity * 2 { slotCount *= 2 }
    storage = .allocate(capacity: storageCapacity)
    offsets = .allocate(capacity: indexCapacity + 1)
    offsets[0] = 0
    hashes = .allocate(capacity: indexCapacity)
    slots = .allocate(capacity: slotCount)
    slots.initialize(repeating: 0, count: slotCount)
    slotMask = slotCount - 1
  }

  deinit {
    storage.deallocate()
    offsets.deallocate()
    hashes.deallocate()
    slots.deallocate()
  }

  static let hashStart: UInt64 = 0xCBF2_9CE4_8422_2325

  /// One step of FNV-1a; feed the bytes of a string in order, starting with `hashStart`.
  @inline(__always) static func step(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
    (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3
  }

  static func hash(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt64 {
    var value = hashStart
    var index = 0
    while index < count {
      value = step(value, bytes[index])
      index &+= 1
    }
    return value
  }

  @inline(__always) private func slot(_ hash: UInt64) -> Int {
    Int(truncatingIfNeeded: (hash ^ (hash >> 29)) >> 3) & slotMask
  }

  /// The index of a string, or -1.
  func find(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int { find(bytes, count, hash: Self.hash(bytes, count)) }

  func find(_ bytes: UnsafePointer<UInt8>, _ count: Int, hash: UInt64) -> Int {
    var place = slot(hash)
    while true {
      let entry = Int(slots[place])
      if entry == 0 { return -1 }
      let index = entry &- 1
      if hashes[index] == hash, offsets[entry] &- offsets[index] == count,
        memcmp(storage + offsets[index], bytes, count) == 0
      {
        return index
      }
      place = (place &+ 1) & slotMask
    }
  }

  func find(_ bytes: [UInt8]) -> Int {
    bytes.withUnsafeBufferPointer { $0.baseAddress.map { find($0, bytes.count) } ?? find(storage, 0) }
  }

  /// The index of the string, adding it when it is new.
  @discardableResult
  func insert(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int {
    let hash = Self.hash(bytes, count)
    let found = find(bytes, count, hash: hash)
    if found >= 0 { return found }
    if self.count == indexCapacity { growIndex() }
    while storageCount + count > storageCapacity { growStorage() }
    memcpy(storage + storageCount, bytes, count)
    storageCount += count
    let index = self.count
    hashes[index] = hash
    self.count += 1
    offsets[self.count] = storageCount
    place(index)
    return index
  }

  @discardableResult
  func insert(_ bytes: [UInt8]) -> Int {
    bytes.withUnsafeBufferPointer { buffer in buffer.baseAddress.map { insert($0, bytes.count) } ?? insert(storage, 0) }
  }

  func withBytes<R>(_ index: Int, _ body: (UnsafeBufferPointer<UInt8>) throws -> R) rethrows -> R {
    precondition(index >= 0 && index < count)
    return try body(UnsafeBufferPointer(start: storage + offsets[index], count: offsets[index + 1] - offsets[index]))
  }

  subscript(index: Int) -> [UInt8] { withBytes(index) { Array($0) } }

  private func place(_ index: Int) {
    var place = slot(hashes[index])
    while slots[place] != 0 { place = (place &+ 1) & slotMask }
    slots[place] = Int32(index + 1)
  }

  private func growStorage() {
    let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: storageCapacity * 2)
    memcpy(larger, storage, storageCount)
    storage.deallocate()
    storage = larger
    storageCapacity *= 2
  }

  private func growIndex() {
    let capacity = indexCapacity * 2
    let newOffsets = UnsafeMutablePointer<Int>.allocate(capacity: capacity + 1)
    newOffsets.update(from: offsets, count: count + 1)
    let newHashes = UnsafeMutablePointer<UInt64>.allocate(capacity: capacity)
    newHashes.update(from: hashes, count: count)
    offsets.deallocate()
    hashes.deallocate()
    slots.deallocate()
    offsets = newOffsets
    hashes = newHashes
    indexCapacity = capacity
    let slotCount = (slotMask + 1) * 2
    slots = .allocate(capacity: slotCount)
    slots.initialize(repeating: 0, count: slotCount)
    slotMask = slotCount - 1
    for index in 0..<count { place(index) }
  }
}
