// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor
import TestSupport
import Testing

@testable import Models

/// What models say about themselves.
@Suite struct ModelSummaryTests {
  private let folder = TemporaryDirectory("summary")

  private func configure(_ text: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file("config.json"))) }
  private func weigh() throws {
    var writer = SafeTensorsWriter()
    try writer.add("a", shape: [3, 4], [Float](repeating: 1, count: 12))
    try writer.add("ids", shape: [5], [Int64](repeating: 1, count: 5))
    let half = [UInt16](repeating: 0, count: 600)
    try half.withUnsafeBytes { bytes in
      try writer.add("b", dtype: .bf16, shape: [600], borrowing: bytes)
      _ = try writer.write(to: folder.file("model.safetensors"))
    }
  }

  @Test func foldersSayWhatTheyHold() throws {
    try weigh()
    try configure(#"{"model_type":"llama","max_position_embeddings":77}"#)
    let one = ModelSummary(path: folder.path)
    #expect(one.architecture == "llama" && one.kind == "generate" && one.parameters == 612 && one.contextLength == 77 && one.problem == nil)
    #expect(one.weightsByType == ["f32": 12, "bf16": 600] && one.dtype == "bf16, f32")
    try configure(#"{"model_type":"bert"}"#)
    #expect(ModelSummary(path: folder.path).kind == "embed")
    // What is not built is told, and counted all the same.
    try configure(#"{"model_type":"mamba"}"#)
    let other = ModelSummary(path: folder.path)
    #expect(other.architecture == "mamba" && other.kind == nil && other.parameters == 612 && other.problem?.contains("not built") == true)
  }

  @Test func whatCannotBeReadIsTold() throws {
    #expect(ModelSummary(path: folder.path).problem?.contains("config.json") == true && ModelSummary(path: "/nowhere").problem != nil)
    try configure(#"{"model_type":"llama"}"#)
    let bare = ModelSummary(path: folder.path)
    #expect(bare.kind == "generate" && bare.parameters == nil && bare.problem?.contains("model.safetensors") == true)
    try Data("short".utf8).write(to: URL(fileURLWithPath: folder.file("model.safetensors")))
    #expect(ModelSummary(path: folder.path).problem?.contains("truncated") == true)
    let file = folder.file("x.gguf")
    try Data("GGUF".utf8).write(to: URL(fileURLWithPath: file))
    #expect(ModelSummary(path: file).problem?.contains("truncated") == true)
  }

  @Test(arguments: [
    (0, "0"), (999, "999"), (1000, "1.00 k"), (22_713_216, "22.7 M"), (134_515_008, "135 M"), (999_600, "1.00 M"), (7_241_732_096, "7.24 B"),
  ]) func countsAreShort(_ count: Int, _ text: String) { #expect(ModelSummary.short(count) == text) }
}
