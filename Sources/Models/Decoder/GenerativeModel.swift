// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core

/// A decoder that the inference engine can run. Immutable and shared by its runners.
public protocol GenerativeModel: Sendable {
  var vocabularySize: Int { get }
  /// Longest sequence, prompt and output together, whose numbers do not depend on how it is cut into steps.
  var servedLength: Int { get }
  /// Tokens that end a generation; empty when the model names none.
  var endTokenIDs: [Int] { get }
  /// Bytes of keys and values that one token takes in the cache.
  func cacheBytesPerToken(_ format: CacheFormat) -> Int
  /// How keys and values are kept when nobody asks for something else.
  var cacheFormat: CacheFormat { get }
  /// Bytes of weights that one token is multiplied with: what decoding reads from memory for each step of one request.
  var weightBytesPerToken: Int { get }
  /// What adapters can change; nil for a model that takes none.
  var adapterTargets: AdapterTargets? { get }
  /// Makes an adapter that was just loaded known to whoever else computes this model, before a step has it. Blocking.
  /// - Parameter directory: its folder, which is the same on all workers.
  func admit(_ adapter: LoRAAdapter, directory: String) throws
  /// A runner with a cache of its own.
  /// - Parameters:
  ///   - threads: that compute; numbers do not depend on it.
  ///   - cache: how keys and values are kept.
  /// - Throws: `resourceExhausted` when the cache size overflows.
  func makeRunner(blockCount: Int, maxRows: Int, threads: Int, cache: CacheFormat) throws -> any GenerativeRunner
}

extension GenerativeModel {
  public var adapterTargets: AdapterTargets? { nil }
  public func admit(_ adapter: LoRAAdapter, directory: String) throws {}

  /// Whether an adapter was loaded for a model like this one.
  public func takes(_ adapter: LoRAAdapter) -> Bool { adapterTargets?.signature == adapter.signature }

  public func makeRunner(blockCount: Int, maxRows: Int, threads: Int = 1) throws -> any GenerativeRunner {
    try makeRunner(blockCount: blockCount, maxRows: maxRows, threads: threads, cache: cacheFormat)
  }
}

/// Runs steps of one model over a paged cache. Belongs to one thread at a time; a row's logits depend on its own sequence only, bit
/// for bit.
public protocol GenerativeRunner: AnyObject {
  var vocabularySize: Int { get }
  /// [outputs, vocabulary] f32 logits, row-major, valid until the next call. Blocking.
  /// - Throws: `unavailable` or `timeout` when a process that computes a part of the model has gone; nothing is computed after that.
  func forward(_ batch: DecoderBatch) throws -> UnsafeBufferPointer<Float>
}

extension LlamaModel: GenerativeModel {
  public var vocabularySize: Int { configuration.vocabularySize }
  public var servedLength: Int { configuration.maxPositions }
  public var endTokenIDs: [Int] { configuration.eosTokenIDs }
  public var cacheFormat: CacheFormat { .f32 }
  public var adapterTargets: AdapterTargets? { targets }
  public var weightBytesPerToken: Int {
    let matrices = layers.flatMap { [$0.query, $0.key, $0.value, $0.output, $0.gate, $0.up, $0.down] } + [head]
    return matrices.reduce(0) { $0 + $1.rows * $1.columns * ($1.type == Int32(PK_WEIGHT_F32) ? 4 : 2) }
  }
  public func makeRunner(blockCount: Int, maxRows: Int, threads: Int, cache: CacheFormat) throws -> any GenerativeRunner {
    try LlamaRunner(model: self, blockCount: blockCount, maxRows: maxRows, threads: threads, cache: cache)
  }
}

extension LlamaRunner: GenerativeRunner {
  public var vocabularySize: Int { model.vocabularySize }
}

extension DecoderModel: GenerativeModel {
  public var servedLength: Int { min(maxPositions, steadyLength ?? .max) }
  public var adapterTargets: AdapterTargets? { targets }
  public var weightBytesPerToken: Int {
    func bytes(_ block: FeedForward) -> Int { (block.gate?.byteCount ?? 0) + block.up.byteCount + block.down.byteCount }
    return layers.reduce(head?.byteCount ?? 0) { sum, layer in
      let attention = layer.query.byteCount + layer.key.byteCount + layer.value.byteCount + layer.output.byteCount
      switch layer.mixer {
      case .dense(let block): return sum + attention + bytes(block)
      case .experts(let experts):
        let shared = experts.shared.map { bytes($0.expert) + $0.gate.byteCount } ?? 0
        return sum + attention + experts.router.byteCount + experts.chosen * bytes(experts.experts[0]) + shared
      }
    }
  }
  public func makeRunner(blockCount: Int, maxRows: Int, threads: Int, cache: CacheFormat) throws -> any GenerativeRunner {
    try DecoderRunner(model: self, blockCount: blockCount, maxRows: maxRows, threads: threads, cache: cache)
  }
}

extension DecoderRunner: GenerativeRunner {
  public var vocabularySize: Int { model.vocabularySize }
}

/// Opens decoders for the inference engine.
public enum GenerativeModels {
  /// A model folder or GGUF file: folders of plain Llamas with the stored numbers by a path of their own, all else by the general one.
  /// - Parameter precision: what matrices are multiplied as.
  /// - Throws: `notFound`; `invalidFile` naming the key (PLT-4102), tensor (PLT-4103) or file (PLT-4101) that cannot be used;
  ///   PLT-5200 for an architecture that is not built; PLT-5210 and 5211 for GGUF files that are broken or hold what is not built.
  public static func open(_ directory: String, precision: WeightPrecision = .f32) throws -> any GenerativeModel {
    if precision == .f32, ModelFile.gguf(directory) == nil,
      try ModelFolder.configuration(directory)["model_type"]?.stringValue == "llama", Self.isPlainLlama(directory)
    {
      return try LlamaModel(directory: directory)
    }
    let model = try DecoderModel(directory: directory, precision: precision)
    guard model.hasHead else {
      throw ConfigurationFields.refusal("the checkpoint has no lm_head and does not tie it to the embeddings, so it generates nothing")
    }
    return model
  }

  /// Whether the faster path knows all that the configuration asks for. What it does not know, the general one does or refuses by name.
  private static func isPlainLlama(_ directory: String) -> Bool {
    do {
      _ = try LlamaConfiguration.load(directory: directory)
      return true
    } catch {
      return false
    }
  }
}
