// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import DeltaLog

@Suite struct DeletionVectorTests {
  /// Sets of every shape: sparse, dense, long runs, several 32-bit buckets.
  static func rows(_ seed: UInt64) -> [UInt64] {
    var random = SplitMix64(seed: seed)
    var rows: Set<UInt64> = []
    for _ in 0..<Int.random(in: 0..<5, using: &random) {
      let bases: [UInt64] = [0, 65_000, 1 << 20, 5 << 32, 0x7FFF_FFFF << 32]
      let base = bases.randomElement(using: &random)!
      switch Int.random(in: 0..<4, using: &random) {
      case 0: for _ in 0..<20 { rows.insert(base + UInt64.random(in: 0..<1_000_000, using: &random)) }
      case 1: for _ in 0..<6000 { rows.insert(base + UInt64.random(in: 0..<70_000, using: &random)) }
      case 2:
        let start = base + UInt64.random(in: 60_000..<66_000, using: &random)
        for row in start..<start + UInt64.random(in: 1..<30_000, using: &random) { rows.insert(row) }
      default: for index in 0..<4097 { rows.insert(base + UInt64(index) * 2) }
      }
    }
    return rows.sorted()
  }

  static func list(_ vector: DeletionVector) -> [UInt64] {
    var rows: [UInt64] = []
    vector.forEach { rows.append($0) }
    return rows
  }

  @Test(arguments: UInt64(0)..<12) func keepsItsRows(_ seed: UInt64) throws {
    let rows = Self.rows(seed)
    let vector = DeletionVector(rows.shuffled())
    #expect(vector.cardinality == Int64(rows.count) && vector.last == rows.last && Self.list(vector) == rows)
    let again = try DeletionVector(serialized: vector.serialized())
    #expect(again == vector)
    let members = Set(rows)
    for row in rows.prefix(50) { #expect(vector.contains(row) && vector.contains(row + 1) == members.contains(row + 1)) }
    let other = Self.rows(seed + 1000)
    #expect(vector.union(DeletionVector(other)) == DeletionVector(Set(rows + other)))
    var marks = [UInt8](repeating: 0, count: 3000)
    let start = rows.randomElement() ?? 5
    marks.withUnsafeMutableBufferPointer { vector.mark($0, from: start) }
    #expect(marks.indices.allSatisfy { (marks[$0] == 1) == members.contains(start + UInt64($0)) })
    var builder = DeletionVectorBuilder()
    for row in rows { for _ in 0..<Int(row % 2) + 1 { builder.append(row) } }
    #expect(builder.finish() == vector && builder.finish().isEmpty)
    let count = Int64(70_000)
    let others = DeletionVector(other)
    let gone = DeletionVector(rows.filter { $0 < UInt64(count) })
    #expect(
      Self.list(gone.allBut(without: others, below: count))
        == (0..<UInt64(count)).filter { !members.contains($0) || others.contains($0) })
  }

  /// A statement that deletes most rows of a large file holds a bit for each row, not a number.
  @Test func rowsThatComeInOrderAreKeptCompressed() {
    let rows = UInt64(1_000_000)
    let blocks = Int(rows) / 65_536 + 1
    for (step, most) in [(2, 8192 * blocks), (1, 4 * blocks + 8192), (1000, 2 * 66 * blocks + 8192)] {
      var builder = DeletionVectorBuilder()
      var held = 0
      for row in stride(from: 0, to: rows, by: step) {
        builder.append(row)
        if row % 4000 == 0 { held = max(held, builder.byteCount) }
      }
      #expect(held <= most, "every \(step). row: \(held) bytes")
      let vector = builder.finish()
      #expect(vector.cardinality == Int64(rows) / Int64(step) && vector.byteCount <= most && builder.byteCount == 0)
    }
  }

  @Test func theProtocolsExamplesAreRead() throws {
    let inline = DeletionVectorDescriptor(
      storage: .inline, pathOrInlineDv: "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L", offset: nil, sizeInBytes: 44, cardinality: 6)
    #expect(try Self.list(DeletionVectorFile.decodeInline(inline)) == [3, 4, 7, 11, 18, 29])
    let older = DeletionVectorDescriptor(
      storage: .inline, pathOrInlineDv: "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L", offset: nil, sizeInBytes: 40, cardinality: 6)
    #expect(try Self.list(DeletionVectorFile.decodeInline(older)) == [3, 4, 7, 11, 18, 29])
    let file = DeletionVectorDescriptor(
      storage: .relative, pathOrInlineDv: "ab^-aqEH.-t@S}K{vb[*k^", offset: 4, sizeInBytes: 40, cardinality: 6)
    #expect(try file.relativePath() == "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin")
    #expect(file.uniqueId == "uab^-aqEH.-t@S}K{vb[*k^@4")
    let uuid = try #require(UUID(uuidString: "d2c639aa-8816-431a-aaf6-d3fe2512ff61"))
    #expect(DeletionVectorDescriptor.file(uuid, prefix: "ab", offset: 4, sizeInBytes: 40, cardinality: 6) == file)
  }

  @Test func filesHoldSeveralVectors() throws {
    let vectors = [DeletionVector([1, 5]), DeletionVector(UInt64(0)..<100_000), DeletionVector()]
    let (file, places) = try DeletionVectorFile.encode(vectors)
    #expect(file[0] == 1 && places[0].offset == 1)
    for (vector, place) in zip(vectors, places) {
      let descriptor = DeletionVectorDescriptor.file(
        UUID(), offset: place.offset, sizeInBytes: place.sizeInBytes, cardinality: vector.cardinality)
      let bytes = file.subdata(in: DeletionVectorFile.range(descriptor))
      #expect(try DeletionVectorFile.decode(bytes, descriptor) == vector)
      for index in [0, 3, 5, bytes.count - 1] {
        var damaged = bytes
        damaged[index] ^= 16
        #expect(errorCode { _ = try DeletionVectorFile.decode(damaged, descriptor) } == .invalidFile)
      }
      var wrong = descriptor
      wrong.cardinality += 1
      #expect(errorText { _ = try DeletionVectorFile.decode(bytes, wrong) }?.contains("rows") == true)
      #expect(errorCode { _ = try DeletionVectorFile.decode(bytes.dropLast(), descriptor) } == .invalidFile)
    }
  }

  @Test func checksumsAreThoseOfTheStandard() {
    #expect(Array("123456789".utf8).withUnsafeBytes(CRC32.checksum) == 0xCBF4_3926)
    #expect(Array("a".utf8).withUnsafeBytes(CRC32.checksum) == 0xE8B7_BE43)
    #expect([UInt8]().withUnsafeBytes(CRC32.checksum) == 0)
  }

  @Test func base85RoundTripsAndRefuses() throws {
    #expect(Z85.encode([0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B]) == "HelloWorld")
    #expect(try Z85.decode("HelloWorld") == [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B])
    for text in ["Hell", "Hello ", "#####", "Hell\u{e9}", "\"\"\"\"\""] { #expect(errorCode { _ = try Z85.decode(text) } == .invalidFile) }
    var random = SplitMix64(seed: 3)
    for count in 0..<40 {
      let bytes = (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &random) }
      #expect(try Array(Z85.decode(Z85.encode(bytes)).prefix(count)) == bytes)
    }
  }

  @Test func mutatedVectorsNeverTrap() {
    var random = SplitMix64(seed: 11)
    for seed in 0..<12 {
      let bytes = DeletionVector(Self.rows(UInt64(seed))).serialized()
      for _ in 0..<60 {
        var copy = bytes
        for _ in 0...2 {
          let limit = Bool.random(using: &random) ? min(copy.count, 40) : copy.count
          copy[Int.random(in: 0..<limit, using: &random)] = [0, 1, 255, 128, 58, 59].randomElement(using: &random)!
        }
        if Bool.random(using: &random) { copy.removeLast(Int.random(in: 0..<copy.count, using: &random)) }
        if let code = errorCode({
          let vector = try DeletionVector(serialized: copy)
          #expect(vector.cardinality <= Int64(vector.blocks.count) << 16)
        }) {
          #expect(code == .invalidFile)
        }
      }
    }
  }

  @Test(arguments: [
    ("ab", "damaged"), ("../^-aqEH.-t@S}K{vb[*k^", "leaves"), ("a b^-aqEH.-t@S}K{vb[*k^", "damaged"), ("ab^-aqEH.-t@S}K{vb[*k~", "foreign"),
  ]) func namesOfVectorFilesStayInTheTable(_ text: String, _ expected: String) {
    let descriptor = DeletionVectorDescriptor(storage: .relative, pathOrInlineDv: text, offset: 1, sizeInBytes: 40, cardinality: 6)
    let message = errorText { _ = try descriptor.relativePath() }
    #expect(message?.contains(expected) == true, "\(message ?? "none")")
  }

  static let hasRoaring =
    (try? Peers.run("import pyroaring")) != nil  // without it the comparison is skipped, and says so

  @Test(.enabled(if: hasRoaring, "no pyroaring in the peer environment")) func theReferenceLibraryAgrees() throws {
    let vectors = (UInt64(0)..<16).map { DeletionVector(Self.rows($0)) }
    let folder = TemporaryDirectory("roaring")
    for (index, vector) in vectors.enumerated() { try Data(vector.serialized()).write(to: URL(fileURLWithPath: folder.file("\(index).ours"))) }
    let script = """
      import sys, struct, hashlib
      from pyroaring import BitMap64
      for i in range(int(sys.argv[2])):
          raw = open(f"{sys.argv[1]}/{i}.ours", "rb").read()
          assert struct.unpack("<I", raw[:4])[0] == 1681511377
          b = BitMap64.deserialize(raw[4:])
          print(len(b), hashlib.sha256(struct.pack("<%dQ" % len(b), *b)).hexdigest())
          open(f"{sys.argv[1]}/{i}.plain", "wb").write(raw[:4] + BitMap64(list(b), optimize=False).serialize())
          c = BitMap64(list(b)); c.run_optimize()
          open(f"{sys.argv[1]}/{i}.theirs", "wb").write(raw[:4] + c.serialize())
      """
    let lines = try Peers.run(script, [folder.path, "\(vectors.count)"]).split(separator: "\n")
    for (index, vector) in vectors.enumerated() {
      let rows = Self.list(vector)
      #expect(lines[index] == "\(rows.count) \(SHA256Digest.hex(rows.withUnsafeBytes { Data($0) }))")
      for kind in ["plain", "theirs"] {
        let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: folder.file("\(index).\(kind)"))))
        #expect(try Self.list(DeletionVector(serialized: bytes)) == rows)
      }
    }
  }
}
