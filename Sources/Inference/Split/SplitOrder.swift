// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Models
import Tensor

/// What rank 0 tells the other ranks of a split model, each time before all of them do the same.
enum SplitOrder: Equatable {
  /// Make a cache of so many blocks for steps of so many rows.
  case begin(blocks: Int, rows: Int, cache: CacheFormat)
  /// adapters: for each span of rows the adapter's number, the first row and the one behind the last.
  case step(tokens: [Int32], positions: [Int32], tables: [Int64], blocks: [Int32], outputs: [Int], adapters: [Int] = [])
  /// Load an adapter and keep it under a number; then all say whether they have it.
  case load(number: Int, name: String, directory: String)
  /// Let an adapter go.
  case unload(number: Int)
  /// Nothing to do; rank 0 is alive.
  case rest
  case end

  /// Bytes of the first message: most steps of a few requests fit, so that they are one message.
  static let firstBytes = 1024
  private static let headBytes = 8
  private static let lengthMax = 1 << 28

  /// - Parameter number: of an adapter that was loaded.
  init(_ batch: DecoderBatch, number: (LoRAAdapter) -> Int = { _ in preconditionFailure("an adapter that no rank knows") }) {
    self = .step(
      tokens: batch.tokens, positions: batch.positions, tables: batch.tables, blocks: batch.blocks, outputs: batch.outputs,
      adapters: batch.adapters.flatMap { [number($0.adapter), $0.rows.lowerBound, $0.rows.upperBound] })
  }

  /// Nil for what is no step, and for one with an adapter that is not known.
  func batch(_ known: [Int: LoRAAdapter]) -> DecoderBatch? {
    guard case .step(let tokens, let positions, let tables, let blocks, let outputs, let adapters) = self else { return nil }
    var batch = DecoderBatch()
    (batch.tokens, batch.positions, batch.tables, batch.blocks, batch.outputs) = (tokens, positions, tables, blocks, outputs)
    for place in stride(from: 0, to: adapters.count, by: 3) {
      guard let adapter = known[adapters[place]], adapters[place + 1] <= adapters[place + 2], adapters[place + 2] <= tokens.count else { return nil }
      batch.adapters.append(AdapterSpan(rows: adapters[place + 1]..<adapters[place + 2], adapter: adapter))
    }
    return batch
  }

  /// A kind and up to four counts or values of 32 bits, then lists of numbers of 32 bits, or bytes of texts, little-endian.
  var encoded: [UInt8] {
    var words: [UInt32]
    switch self {
    case .begin(let blocks, let rows, let cache):
      words = [1, UInt32(blocks), UInt32(rows), UInt32(CacheFormat.allCases.firstIndex(of: cache) ?? 0)]
    case .step(let tokens, let positions, let tables, let blocks, let outputs, let adapters):
      words = [2, UInt32(tokens.count), UInt32(blocks.count), UInt32(outputs.count), UInt32(adapters.count)]
      words.reserveCapacity(5 + 3 * tokens.count + blocks.count + outputs.count + adapters.count)
      for list in [tokens, positions] { words += list.map { UInt32(bitPattern: $0) } }
      words += tables.map { UInt32($0) }
      words += blocks.map { UInt32(bitPattern: $0) }
      words += outputs.map { UInt32($0) }
      words += adapters.map { UInt32($0) }
    case .load(let number, let name, let directory):
      words = [5, UInt32(number), UInt32(name.utf8.count), UInt32(directory.utf8.count)]
      for text in [name, directory] { words += text.utf8.map { UInt32($0) } }
    case .unload(let number): words = [6, UInt32(number)]
    case .rest: words = [3]
    case .end: words = [4]
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(words.count * 4)
    for word in words { withUnsafeBytes(of: word.littleEndian) { bytes += $0 } }
    return bytes
  }

  /// - Throws: `internalError` for bytes that no rank of this version wrote.
  init(decoding bytes: [UInt8]) throws {
    let words: [UInt32] = bytes.withUnsafeBytes { bytes in
      (0..<bytes.count / 4).map { UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)) }
    }
    let broken = PlatformError(.internalError, "unreadable order of \(bytes.count) bytes", hint: "All ranks must run the same version.")
    switch words.first {
    case 1 where words.count == 4 && words[3] < CacheFormat.allCases.count:
      self = .begin(blocks: Int(words[1]), rows: Int(words[2]), cache: CacheFormat.allCases[Int(words[3])])
    case 2 where words.count >= 5:
      let (rows, blocks, outputs, adapters) = (Int(words[1]), Int(words[2]), Int(words[3]), Int(words[4]))
      guard words.count == 5 + 3 * rows + blocks + outputs + adapters, adapters % 3 == 0 else { throw broken }
      var place = 5
      func take(_ count: Int) -> ArraySlice<UInt32> {
        defer { place += count }
        return words[place..<place + count]
      }
      func numbers(_ count: Int) -> [Int32] { take(count).map { Int32(bitPattern: $0) } }
      self = .step(
        tokens: numbers(rows), positions: numbers(rows), tables: take(rows).map { Int64($0) }, blocks: numbers(blocks),
        outputs: take(outputs).map { Int($0) }, adapters: take(adapters).map { Int($0) })
    case 5 where words.count >= 4:
      let (name, directory) = (Int(words[2]), Int(words[3]))
      guard words.count == 4 + name + directory else { throw broken }
      func text(_ words: ArraySlice<UInt32>) -> String { String(decoding: words.map { UInt8(truncatingIfNeeded: $0) }, as: UTF8.self) }
      self = .load(number: Int(words[1]), name: text(words[4..<4 + name]), directory: text(words[(4 + name)...]))
    case 6 where words.count == 2: self = .unload(number: Int(words[1]))
    case 3 where words.count == 1: self = .rest
    case 4 where words.count == 1: self = .end
    default: throw broken
    }
  }

  /// Rank 0's side of a meeting.
  func send(over group: any Collective) throws {
    let bytes = encoded
    var first = [UInt8](repeating: 0, count: Self.firstBytes)
    withUnsafeBytes(of: UInt64(bytes.count).littleEndian) { first.replaceSubrange(0..<Self.headBytes, with: $0) }
    let inside = min(bytes.count, Self.firstBytes - Self.headBytes)
    first.replaceSubrange(Self.headBytes..<Self.headBytes + inside, with: bytes[..<inside])
    try first.withUnsafeMutableBytes { try group.broadcast($0.baseAddress!, byteCount: Self.firstBytes, root: 0) }
    guard inside < bytes.count else { return }
    var rest = Array(bytes[inside...])
    try rest.withUnsafeMutableBytes { try group.broadcast($0.baseAddress!, byteCount: $0.count, root: 0) }
  }

  /// The other ranks' side.
  static func receive(from group: any Collective) throws -> SplitOrder {
    var first = [UInt8](repeating: 0, count: firstBytes)
    try first.withUnsafeMutableBytes { try group.broadcast($0.baseAddress!, byteCount: firstBytes, root: 0) }
    let said = first.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
    guard said <= lengthMax else { throw PlatformError(.internalError, "an order of \(said) bytes") }
    let length = Int(said)
    let inside = min(length, firstBytes - headBytes)
    var bytes = Array(first[headBytes..<headBytes + inside])
    if inside < length {
      var rest = [UInt8](repeating: 0, count: length - inside)
      try rest.withUnsafeMutableBytes { try group.broadcast($0.baseAddress!, byteCount: $0.count, root: 0) }
      bytes += rest
    }
    return try SplitOrder(decoding: bytes)
  }
}
