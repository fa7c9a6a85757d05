// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor
import TestSupport
import Testing

/// Bytes of a GGUF file, written by hand so that broken ones can be made as well.
private struct Bytes {
  var data = Data()

  mutating func put(_ value: some FixedWidthInteger) { withUnsafeBytes(of: value.littleEndian) { data.append(contentsOf: $0) } }
  mutating func put(_ text: String) {
    put(UInt64(text.utf8.count))
    data.append(contentsOf: Array(text.utf8))
  }

  struct Tensor {
    var name: String
    var shape: [UInt64]
    var type: UInt32
    var offset: UInt64
  }

  static func file(
    version: UInt32 = 3, tensors: [Tensor], dataCount: Int, tensorCount: UInt64? = nil, pairCount: UInt64? = nil, alignment: UInt32? = nil,
    twice: Bool = false
  ) -> Data {
    var bytes = Bytes()
    bytes.data.append(contentsOf: Array("GGUF".utf8))
    bytes.put(version)
    bytes.put(tensorCount ?? UInt64(tensors.count))
    bytes.put(pairCount ?? (alignment == nil ? 3 : 4) + (twice ? 1 : 0))
    for _ in 0..<(twice ? 2 : 1) {
      bytes.put("general.architecture")
      bytes.put(UInt32(8))
      bytes.put("llama")
    }
    bytes.put("numbers")
    bytes.put(UInt32(9))
    bytes.put(UInt32(5))
    bytes.put(UInt64(3))
    for value in [Int32(1), -2, 3] { bytes.put(value) }
    bytes.put("small")
    bytes.put(UInt32(6))
    bytes.put(Float(0.5).bitPattern)
    if let alignment {
      bytes.put("general.alignment")
      bytes.put(UInt32(4))
      bytes.put(alignment)
    }
    for tensor in tensors {
      bytes.put(tensor.name)
      bytes.put(UInt32(tensor.shape.count))
      for size in tensor.shape { bytes.put(size) }
      bytes.put(tensor.type)
      bytes.put(tensor.offset)
    }
    let step = Int(alignment ?? 32)
    while bytes.data.count % max(1, step) != 0 { bytes.put(UInt8(0)) }
    return bytes.data + Data((0..<dataCount).map { UInt8(truncatingIfNeeded: $0 * 7) })
  }
}

@Suite struct GGUFFileTests {
  private let folder = TemporaryDirectory("gguf")
  private let good = [
    Bytes.Tensor(name: "a", shape: [32, 2], type: 8, offset: 0), Bytes.Tensor(name: "b", shape: [3], type: 0, offset: 96),
    Bytes.Tensor(name: "c", shape: [2, 2], type: 1, offset: 128),
  ]

  private func open(_ data: Data) throws -> GGUFFile {
    let path = folder.file("x.gguf")
    try data.write(to: URL(fileURLWithPath: path))
    return try GGUFFile(path: path)
  }

  private func message(_ data: Data) -> String {
    do {
      _ = try open(data)
      return "nothing was thrown"
    } catch {
      let error = PlatformError.from(error)
      return error.code == .invalidFile ? "\(error.number) \(error.message)" : "\(error)"
    }
  }

  @Test func readsMetadataAndTensors() throws {
    for version in [UInt32(2), 3] {
      let file = try open(Bytes.file(version: version, tensors: good, dataCount: 136))
      #expect(file.names == ["a", "b", "c"])
      #expect(file.metadata == ["general.architecture": .text("llama"), "numbers": .list([.integer(1), .integer(-2), .integer(3)]), "small": .number(0.5)])
      let a = try file.tensor("a")
      #expect(a.shape == [2, 32] && a.blocks == .q8_0 && a.elementCount == 64 && a.byteCount == 68)
      // A part that begins and ends inside of blocks.
      let whole = try a.float32()
      var part = [Float](repeating: 0, count: 30)
      try a.copyFloat32(into: &part, from: 20, count: 30)
      #expect(part == Array(whole[20..<50]))
      #expect(try a.rows { 1 - $0 }.float32() == Array(whole[32...] + whole[..<32]))
      #expect(try #require(a.slice(1)).float32() == Array(whole[32...]) && a.slice(2) == nil)
      #expect(try file.tensor("c").shape == [2, 2] && file.tensor("b").float32().count == 3)
    }
    #expect(try open(Bytes.file(tensors: [Bytes.Tensor(name: "b", shape: [3], type: 0, offset: 64)], dataCount: 76, alignment: 64)).names == ["b"])
  }

  @Test func lyingFilesAreRefusedByNameAndPlace() throws {
    let data = Bytes.file(tensors: good, dataCount: 136)
    func changed(_ index: Int, _ change: (inout Bytes.Tensor) -> Void) -> String {
      var tensors = good
      change(&tensors[index])
      return message(Bytes.file(tensors: tensors, dataCount: 136))
    }
    #expect(message(data.dropLast(1)) == "PLT-5210 truncated: tensor 'c' has 8 bytes from byte 384 on, the file has 391, at byte 207")
    #expect(changed(1) { $0.offset = 64 }.contains("tensors 'a' and 'b' overlap at byte 320"))
    #expect(changed(1) { $0.offset = 100 }.contains("tensor 'b' begins at 100 of the data, no multiple of 32"))
    #expect(changed(2) { $0.offset = 1 << 40 }.contains("truncated: tensor 'c'"))
    #expect(changed(2) { $0.offset = .max - 31 }.contains("tensor 'c' begins at"))
    #expect(changed(0) { $0.shape = [33, 2] }.contains("tensor 'a' of type q8_0 has rows of 33 weights, no multiple of 32"))
    #expect(changed(0) { $0.shape = [1 << 40, 1 << 40] }.contains("tensor 'a' has a shape whose size overflows"))
    #expect(changed(0) { $0.shape = [.max] }.contains("tensor 'a' has a shape whose size overflows"))
    #expect(changed(0) { $0.shape = [1, 1, 1, 1, 1] }.contains("tensor 'a' has 5 axes"))
    #expect(changed(1) { $0.type = 10 }.hasPrefix("PLT-5211 tensor 'b' has type Q2_K, which is not built"))
    #expect(changed(1) { $0.type = 4_000_000_000 }.contains("tensor 'b' has type 4000000000"))
    #expect(changed(1) { $0.name = "a" }.contains("tensor 'a' is there twice"))
    #expect(message(Bytes.file(tensors: good, dataCount: 136, twice: true)).contains("'general.architecture' is there twice"))
    #expect(message(Bytes.file(tensors: good, dataCount: 136, tensorCount: 1 << 60)).contains("the number of tensors is 1152921504606846976"))
    #expect(message(Bytes.file(tensors: good, dataCount: 136, pairCount: .max)).contains("the number of metadata pairs is"))
    #expect(message(Bytes.file(version: 1, tensors: good, dataCount: 136)).hasPrefix("PLT-5211 the file has version 1"))
    #expect(message(Bytes.file(version: UInt32(3).byteSwapped, tensors: good, dataCount: 136)).contains("big-endian"))
    #expect(message(Bytes.file(tensors: good, dataCount: 136, alignment: 0)).contains("general.alignment"))
    #expect(message(Data("GGML".utf8)).contains("not a GGUF file") && message(Data()).contains("not a GGUF file"))
    var long = data
    long.replaceSubrange(24..<32, with: withUnsafeBytes(of: UInt64.max) { Data($0) })
    #expect(message(long).contains("the length of the key of pair 0 is 18446744073709551615"))
  }

  /// No prefix and no flipped byte makes the reader leave the file or run for long.
  @Test func brokenBytesNeverBreakTheReader() throws {
    let data = Bytes.file(tensors: good, dataCount: 136)
    for count in stride(from: 0, to: data.count - 1, by: 3) { #expect(message(data.prefix(count)).hasPrefix("PLT-52")) }
    var generator = SplitMix64(seed: 5)
    for _ in 0..<400 {
      var broken = data
      for _ in 0..<(1 + Int(generator.next() % 3)) { broken[Int(generator.next() % 300)] = UInt8(truncatingIfNeeded: generator.next()) }
      guard let file = try? open(broken) else { continue }
      for name in file.names { _ = try? file.tensor(name).float32() }
    }
  }
}

/// Blocks of random bytes against the reference in `gguf`, which follows llama.cpp's.
@Suite(.enabled(if: Peers.hasGGUF, "no peer environment with gguf")) struct BlockFormatPeerTests {
  @Test func everyBlockBecomesTheReferencesNumbers() throws {
    let folder = TemporaryDirectory("blocks")
    let script = #"""
      import sys, numpy as np, gguf
      from gguf.quants import dequantize
      Q = gguf.GGMLQuantizationType
      w = gguf.GGUFWriter(sys.argv[1] + "/x.gguf", "llama")
      rng = np.random.default_rng(3)
      for name in ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "BF16"]:
          q = Q[name]; size, bytes = gguf.GGML_QUANT_SIZES[q]
          blocks = rng.integers(0, 256, (7, 3 * bytes * (1 if name != "BF16" else 16)), dtype=np.uint8)
          # f16 scales without NaN: the top bit of the exponent off, at both places where formats have scales
          view = blocks.reshape(-1, bytes)
          if name == "Q6_K": view[:, 209] &= 0xBF
          elif name != "BF16":
              view[:, 1] &= 0xBF
              if name in ("Q4_1", "Q5_1", "Q4_K", "Q5_K"): view[:, 3] &= 0xBF
          else: blocks.view(np.uint16)[...] &= 0xBFFF
          w.add_tensor(name, blocks, raw_dtype=q)
          np.ascontiguousarray(dequantize(blocks, q), dtype=np.float32).tofile(f"{sys.argv[1]}/{name}.bin")
      w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
      """#
    _ = try Peers.run(script, [folder.path])
    let file = try GGUFFile(path: folder.file("x.gguf"))
    #expect(file.names.count == 10)
    for name in file.names {
      let expected = try Data(contentsOf: URL(fileURLWithPath: folder.file(name + ".bin"))).withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
      let ours = try file.tensor(name).float32()
      #expect(ours.count == expected.count && zip(ours, expected).allSatisfy { $0 == $1 }, "\(name)")
    }
  }
}
