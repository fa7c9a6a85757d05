// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Tensor

@Suite struct IOSafeTensorsTests {
  let folder = TemporaryDirectory("safetensors")

  /// A file from its JSON header and data.
  private func file(_ header: String, data: [UInt8], length: UInt64? = nil) throws -> String {
    let path = folder.file("\(UUID().uuidString).safetensors")
    let text = Array(header.utf8)
    let count = withUnsafeBytes(of: (length ?? UInt64(text.count)).littleEndian) { Array($0) }
    try Data(count + text + data).write(to: URL(fileURLWithPath: path))
    return path
  }

  @Test func writtenTensorsReadBack() throws {
    let path = folder.file("a.safetensors")
    var writer = SafeTensorsWriter()
    try writer.add("w", shape: [2, 3], [1, -2, 3.5, 4, .infinity, 6] as [Float])
    try writer.add("steps", shape: [], [7] as [Int64])
    try writer.add("ids", shape: [3], [1, 2, -3] as [Int32])
    try writer.add("empty", shape: [0, 4], [] as [Float])
    let size = try writer.write(to: path)
    #expect(try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int == size)
    let file = try SafeTensorsFile(path: path)
    #expect(file.names == ["empty", "ids", "steps", "w"])
    #expect(file.metadata == ["format": "pt"])
    #expect(try file.float32("w", shape: [2, 3]) == [1, -2, 3.5, 4, .infinity, 6])
    #expect(try file.tensor("steps").int64() == [7])
    #expect(try file.tensor("ids").int64() == [1, 2, -3])
    #expect(try file.float32("empty") == [])
    #expect(throws: PlatformError.self) { try file.float32("w", shape: [3, 2]) }
    #expect(throws: PlatformError.self) { try file.float32("ids") }
    #expect(throws: PlatformError.self) { try file.tensor("absent") }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a.safetensors"])
  }

  @Test func everyTruncationIsRefused() throws {
    let path = folder.file("whole.safetensors")
    var writer = SafeTensorsWriter()
    try writer.add("w", shape: [4], [1, 2, 3, 4] as [Float])
    try writer.write(to: path)
    let whole = try Data(contentsOf: URL(fileURLWithPath: path))
    for count in 0..<whole.count {
      let cut = folder.file("cut.safetensors")
      try whole.prefix(count).write(to: URL(fileURLWithPath: cut))
      let error = #expect(throws: PlatformError.self) { try SafeTensorsFile(path: cut) }
      #expect(error?.code == .invalidFile && error?.number == "PLT-4101" && error?.path == cut)
      if count >= 8 {
        #expect(
          error?.message.hasPrefix("truncated: header promises \(count < whole.count - 16 ? "" : "\(whole.count) ")") == true
        )
      }
    }
  }

  @Test(arguments: [
    (
      #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#, 12,
      "overlap"
    ),
    (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "hole"),
    (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 8, "belong to no tensor"),
    (#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8, "needs 12 bytes"),
    (#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#, 0, "overflows"),
    (#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, "not a count"),
    (#"{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}"#, 4, "not a count"),
    (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4, "data_offsets"),
    (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}"#, 4, "data_offsets"),
    (#"{"a":{"dtype":"Q9","shape":[1],"data_offsets":[0,4]}}"#, 4, "not supported"),
    (#"{"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}}"#, 4, "truncated"),
    (#"[1]"#, 0, "not a JSON object"), (#"{"a":"#, 0, "not valid JSON"), (#"{"a":3}"#, 0, "no dtype"),
  ]) func badHeaderIsRefused(header: String, dataCount: Int, reason: String) throws {
    let path = try file(header, data: [UInt8](repeating: 0, count: dataCount))
    let error = #expect(throws: PlatformError.self) { try SafeTensorsFile(path: path) }
    #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")")
    #expect(error?.number == "PLT-4101")
  }

  @Test(arguments: [UInt64.max, 1 << 63, 100_000_001, 1000]) func absurdHeaderLengthIsRefused(length: UInt64) throws {
    let path = try file("{}", data: [], length: length)
    #expect(throws: PlatformError.self) { try SafeTensorsFile(path: path) }
  }

  @Test func halfAndDoubleTypesConvert() throws {
    // 1, -2, 65504, smallest subnormal, infinity, -0 as f16, eight and one elements to reach the vector path.
    let halves: [UInt16] = [0x3C00, 0xC000, 0x7BFF, 0x0001, 0x7C00, 0x8000, 0x0400, 0x3555, 0x3800]
    let expected = halves.map { Float(Float16Bits.value($0)) }
    let brains: [UInt16] = [0x3F80, 0xC000]
    let doubles: [Double] = [0.1, -3]
    var data: [UInt8] = []
    for value in doubles { withUnsafeBytes(of: value) { data += Array($0) } }
    for value in halves + brains { withUnsafeBytes(of: value) { data += Array($0) } }
    let path = try file(
      #"{"d":{"dtype":"F64","shape":[2],"data_offsets":[0,16]},"h":{"dtype":"F16","shape":[9],"data_offsets":[16,34]},"#
        + #""b":{"dtype":"BF16","shape":[2],"data_offsets":[34,38]}}"#, data: data)
    let file = try SafeTensorsFile(path: path)
    #expect(try file.float32("h") == expected)
    #expect(try file.float32("b") == [1, -2])
    #expect(try file.float32("d") == [0.1, -3])
  }

  @Test func shardsAreFoundThroughTheIndex() throws {
    for (name, value) in [("one", Float(1)), ("two", Float(2))] {
      var writer = SafeTensorsWriter()
      try writer.add(name, shape: [1], [value])
      try writer.write(to: folder.file("\(name).safetensors"))
    }
    let index = folder.file("model.safetensors.index.json")
    try Data(#"{"metadata":{},"weight_map":{"one":"one.safetensors","two":"two.safetensors"}}"#.utf8)
      .write(to: URL(fileURLWithPath: index))
    let weights = try SafeTensorsDirectory(path: folder.path)
    #expect(weights.names == ["one", "two"])
    #expect(try weights.float32("two") == [2])
    for outside in ["../one.safetensors", "/etc/passwd", "a/../../x", "./one.safetensors", ""] {
      try JSONEncoder().encode(["weight_map": ["one": outside]]).write(to: URL(fileURLWithPath: index))
      let error = #expect(throws: PlatformError.self) { try SafeTensorsDirectory(path: folder.path) }
      #expect(error?.message.contains("leaves the folder") == true)
    }
    try Data(#"{"weight_map":{"one":"two.safetensors"}}"#.utf8).write(to: URL(fileURLWithPath: index))
    #expect(throws: PlatformError.self) { try SafeTensorsDirectory(path: folder.path) }
  }

  @Test func writerRefusesWrongShapes() throws {
    var writer = SafeTensorsWriter()
    #expect(throws: PlatformError.self) { try writer.add("w", shape: [3], [1, 2] as [Float]) }
    #expect(throws: PlatformError.self) { try writer.add("w", shape: [-1, -2], [1, 2] as [Float]) }
    try writer.add("w", shape: [2], [1, 2] as [Float])
    #expect(throws: PlatformError.self) { try writer.add("w", shape: [2], [1, 2] as [Float]) }
    #expect(throws: PlatformError.self) { try writer.write(to: folder.file("no/such/folder/x")) }
  }

  @Test(.enabled(if: Peers.python != nil, "no peer environment")) func referenceLibraryReadsOursAndWeReadIts() throws {
    var writer = SafeTensorsWriter()
    try writer.add("w", shape: [2, 2], [1, 2, 3, 4] as [Float])
    try writer.add("n", shape: [1], [9] as [Int64])
    try writer.write(to: folder.file("ours.safetensors"))
    let out = try Peers.run(
      """
      import sys, numpy, torch
      from safetensors.torch import load_file, save_file
      folder = sys.argv[1]
      t = load_file(folder + "/ours.safetensors")
      assert t["w"].tolist() == [[1, 2], [3, 4]] and t["n"].tolist() == [9]
      x = torch.linspace(-3, 3, 33)
      save_file({"h": x.half(), "b": x.bfloat16(), "d": x.double(), "f": x}, folder + "/theirs.safetensors")
      for k in ("h", "b"): print(" ".join(repr(float(v)) for v in (x.half() if k == "h" else x.bfloat16()).float()))
      """, [folder.path])
    let lines = out.split(separator: "\n").map { $0.split(separator: " ").compactMap { Float($0) } }
    let theirs = try SafeTensorsFile(path: folder.file("theirs.safetensors"))
    #expect(try theirs.float32("h") == lines[0])
    #expect(try theirs.float32("b") == lines[1])
    #expect(try theirs.float32("d") == theirs.float32("f"))
  }
}

/// f16 bits to a double by the definition of the format.
private enum Float16Bits {
  static func value(_ bits: UInt16) -> Double {
    let sign: Double = bits & 0x8000 == 0 ? 1 : -1
    let exponent = Int(bits >> 10) & 31
    let mantissa = Double(bits & 1023)
    if exponent == 31 { return mantissa == 0 ? sign * .infinity : .nan }
    if exponent == 0 { return sign * mantissa * 0x1p-24 }
    return sign * (1 + mantissa / 1024) * Foundation.pow(2, Double(exponent - 15))
  }
}
