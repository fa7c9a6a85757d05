// SPDX-License-Identifier: Apache-2.0

import Core
import Tensor

/// [count] f32 that stay where they are: in the mapped file when it holds aligned f32, otherwise a converted copy.
final class FloatStorage: @unchecked Sendable {  // written only in init
  let pointer: UnsafePointer<Float>
  private let owned: UnsafeMutablePointer<Float>?
  private let view: SafeTensorView?

  /// - Throws: `invalidFile` when the tensor is missing, not floating point, or of another shape.
  init(_ source: any SafeTensorSource, _ name: String, shape: [Int]) throws {
    let view = try source.tensor(name)
    guard view.shape == shape else {
      throw PlatformError(
        .invalidFile, "tensor '\(name)' has shape \(view.shape), the configuration says \(shape)", number: "PLT-4101",
        path: view.path)
    }
    if view.dtype == .f32, UInt(bitPattern: view.rawBytes) % 4 == 0 {
      pointer = view.rawBytes.assumingMemoryBound(to: Float.self)
      owned = nil
      self.view = view
    } else {
      let copy = UnsafeMutablePointer<Float>.allocate(capacity: max(1, view.elementCount))
      do {
        try view.copyFloat32(into: copy)
      } catch {
        copy.deallocate()
        throw error
      }
      pointer = UnsafePointer(copy)
      owned = copy
      self.view = nil
    }
  }

  /// The rows of several tensors one after the other.
  init(_ source: any SafeTensorSource, stacking names: [String], shape: [Int]) throws {
    let count = shape.reduce(1, *)
    let copy = UnsafeMutablePointer<Float>.allocate(capacity: max(1, count * names.count))
    do {
      for (index, name) in names.enumerated() {
        copy.advanced(by: index * count).update(from: try FloatStorage(source, name, shape: shape).pointer, count: count)
      }
    } catch {
      copy.deallocate()
      throw error
    }
    pointer = UnsafePointer(copy)
    owned = copy
    view = nil
  }

  deinit { owned?.deallocate() }
}

/// The weights of one BERT encoder by their Hugging Face names, with or without the prefix "bert.".
struct BertWeights: Sendable {
  /// H = hidden, I = intermediate. Matrices are [out, in].
  struct Layer: Sendable {
    /// [3H, H]: query, key, value.
    var qkv: FloatStorage
    var qkvBias: FloatStorage
    var attentionOutput: FloatStorage
    var attentionOutputBias: FloatStorage
    var attentionGain: FloatStorage
    var attentionShift: FloatStorage
    /// [I, H]
    var up: FloatStorage
    var upBias: FloatStorage
    /// [H, I]
    var down: FloatStorage
    var downBias: FloatStorage
    var outputGain: FloatStorage
    var outputShift: FloatStorage
  }

  var word: FloatStorage
  var position: FloatStorage
  var type: FloatStorage
  var gain: FloatStorage
  var shift: FloatStorage
  var layers: [Layer]

  init(_ source: any SafeTensorSource, _ configuration: BertConfiguration) throws {
    let prefix = source.contains("bert.embeddings.word_embeddings.weight") ? "bert." : ""
    // Checkpoints converted from TensorFlow call the norms' parameters gamma and beta.
    let old = source.contains(prefix + "embeddings.LayerNorm.gamma")
    let (gainName, shiftName) = old ? ("gamma", "beta") : ("weight", "bias")
    let hidden = configuration.hiddenSize
    let inner = configuration.intermediateSize
    func load(_ name: String, _ shape: Int...) throws -> FloatStorage {
      try FloatStorage(source, prefix + name, shape: shape)
    }
    word = try load("embeddings.word_embeddings.weight", configuration.vocabularySize, hidden)
    position = try load("embeddings.position_embeddings.weight", configuration.maximumPositions, hidden)
    type = try load("embeddings.token_type_embeddings.weight", configuration.typeVocabularySize, hidden)
    gain = try load("embeddings.LayerNorm.\(gainName)", hidden)
    shift = try load("embeddings.LayerNorm.\(shiftName)", hidden)
    layers = try (0..<configuration.layerCount).map { index in
      let layer = "encoder.layer.\(index)."
      let parts = ["query", "key", "value"].map { prefix + layer + "attention.self.\($0)." }
      return Layer(
        qkv: try FloatStorage(source, stacking: parts.map { $0 + "weight" }, shape: [hidden, hidden]),
        qkvBias: try FloatStorage(source, stacking: parts.map { $0 + "bias" }, shape: [hidden]),
        attentionOutput: try load(layer + "attention.output.dense.weight", hidden, hidden),
        attentionOutputBias: try load(layer + "attention.output.dense.bias", hidden),
        attentionGain: try load(layer + "attention.output.LayerNorm.\(gainName)", hidden),
        attentionShift: try load(layer + "attention.output.LayerNorm.\(shiftName)", hidden),
        up: try load(layer + "intermediate.dense.weight", inner, hidden),
        upBias: try load(layer + "intermediate.dense.bias", inner),
        down: try load(layer + "output.dense.weight", hidden, inner),
        downBias: try load(layer + "output.dense.bias", hidden),
        outputGain: try load(layer + "output.LayerNorm.\(gainName)", hidden),
        outputShift: try load(layer + "output.LayerNorm.\(shiftName)", hidden))
    }
  }
}
