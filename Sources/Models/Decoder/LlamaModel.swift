// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Foundation
public import Tensor

/// The weights of a Llama decoder, ready for inference. Immutable, so many `LlamaRunner`s on many threads may share it.
///
/// Matrices stored as bf16 stay bf16 in memory (half the bandwidth); all else is f32. Sums are f32.
public final class LlamaModel: @unchecked Sendable {  // all buffers are written in init only
  /// A [rows, columns] matrix with an optional bias of [rows].
  struct Matrix {
    var type: Int32
    var rows: Int
    var columns: Int
    var weights: UnsafeRawPointer
    var bias: UnsafePointer<Float>?
  }

  struct Layer {
    var inputNorm: UnsafePointer<Float>
    var query: Matrix
    var key: Matrix
    var value: Matrix
    var output: Matrix
    var attentionNorm: UnsafePointer<Float>
    var gate: Matrix
    var up: Matrix
    var down: Matrix
  }

  public let configuration: LlamaConfiguration
  /// Bytes that the weights occupy.
  public let byteCount: Int
  let embedding: Matrix
  let layers: [Layer]
  let finalNorm: UnsafePointer<Float>
  let head: Matrix
  let targets: AdapterTargets
  private let storage: Storage

  /// Loads `config.json` and the safetensors (one file or shards) of a Hugging Face model folder.
  /// - Throws: `notFound`, or `invalidFile` naming the key, tensor or file that cannot be used.
  public convenience init(directory: String) throws {
    let configuration = try LlamaConfiguration.load(directory: directory)
    do {
      try self.init(configuration: configuration, weights: SafeTensorsDirectory(path: directory))
    } catch {
      throw PlatformError.from(error, context: "loading model \(directory)")
    }
  }

  /// Copies the weights out of `weights`.
  /// - Throws: `invalidFile` (PLT-4103) naming a tensor that is missing or has another shape.
  public init(configuration: LlamaConfiguration, weights: any SafeTensorSource) throws {
    try configuration.validate()
    // Every tensor is checked before the first byte is copied.
    for (name, shape) in LlamaWeightNames.shapes(configuration) {
      guard weights.contains(name) else {
        throw PlatformError(.invalidFile, "the model has no tensor '\(name)'", number: "PLT-4103")
      }
      let view = try weights.tensor(name)
      guard view.shape == shape else {
        throw PlatformError(
          .invalidFile, "tensor '\(name)' has shape \(view.shape), the configuration asks for \(shape)", number: "PLT-4103",
          path: view.path)
      }
    }
    let storage = Storage()
    func vector(_ name: String) throws -> UnsafePointer<Float> {
      let view = try weights.tensor(name)
      let target = storage.allocate(view.elementCount * 4).assumingMemoryBound(to: Float.self)
      try view.copyFloat32(into: target)
      view.dropPages()
      return UnsafePointer(target)
    }
    func matrix(_ name: String, bias: Bool) throws -> Matrix {
      let view = try weights.tensor(name)
      let biases = bias ? try vector(LlamaWeightNames.Layer.bias(of: name)) : nil
      if view.dtype == .bf16 {
        let target = storage.allocate(view.byteCount)
        // In pieces, so that the file's pages and their copies are not all in memory at once.
        let piece = 8 << 20
        for start in stride(from: 0, to: view.byteCount, by: piece) {
          let count = min(piece, view.byteCount - start)
          (target + start).copyMemory(from: view.rawBytes + start, byteCount: count)
          view.dropPages(from: start / 2, count: count / 2)
        }
        return Matrix(
          type: Int32(PK_WEIGHT_BF16), rows: view.shape[0], columns: view.shape[1], weights: UnsafeRawPointer(target),
          bias: biases)
      }
      return Matrix(
        type: Int32(PK_WEIGHT_F32), rows: view.shape[0], columns: view.shape[1],
        weights: UnsafeRawPointer(try vector(name)), bias: biases)
    }
    let embedding = try matrix(LlamaWeightNames.embedding, bias: false)
    layers = try (0..<configuration.layerCount).map { index in
      let names = LlamaWeightNames.layer(index)
      return Layer(
        inputNorm: try vector(names.inputNorm),
        query: try matrix(names.query, bias: configuration.attentionBias),
        key: try matrix(names.key, bias: configuration.attentionBias),
        value: try matrix(names.value, bias: configuration.attentionBias),
        output: try matrix(names.output, bias: configuration.attentionBias),
        attentionNorm: try vector(names.attentionNorm),
        gate: try matrix(names.gate, bias: configuration.mlpBias),
        up: try matrix(names.up, bias: configuration.mlpBias),
        down: try matrix(names.down, bias: configuration.mlpBias))
    }
    finalNorm = try vector(LlamaWeightNames.finalNorm)
    head = configuration.tieWordEmbeddings ? embedding : try matrix(LlamaWeightNames.head, bias: false)
    self.embedding = embedding
    self.configuration = configuration
    targets = AdapterTargets(configuration)
    self.storage = storage
    byteCount = storage.byteCount
  }

  /// Bytes of keys and values that one token takes in the cache.
  public func cacheBytesPerToken(_ format: CacheFormat) -> Int {
    configuration.layerCount * format.bytes(heads: configuration.keyValueHeadCount, size: configuration.headSize)
  }

  /// Owns 64-byte aligned buffers.
  private final class Storage {
    private var buffers: [UnsafeMutableRawPointer] = []
    private(set) var byteCount = 0

    func allocate(_ bytes: Int) -> UnsafeMutableRawPointer {
      let buffer = UnsafeMutableRawPointer.allocate(byteCount: max(bytes, 64), alignment: 64)
      buffers.append(buffer)
      byteCount += bytes
      return buffer
    }

    deinit { for buffer in buffers { buffer.deallocate() } }
  }
}
