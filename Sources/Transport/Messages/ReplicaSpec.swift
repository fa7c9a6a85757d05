// SPDX-License-Identifier: Apache-2.0

/// What a serving replica loads and whom it answers: payload of work of kind `serve.replica`.
public struct ReplicaSpec: Codable, Sendable, Equatable {
  /// `generate`, `embed` or `search`.
  public var role: String
  /// Folder of the language model (generate) or of the encoder (embed, search), in Hugging Face layout.
  public var modelDirectory: String
  /// Folder of the vector index (search).
  public var indexDirectory: String?
  /// Public key (hexadecimal) of the coordinator: nobody else is answered.
  public var coordinatorKey: String
  /// Memory for keys and values in bytes (generate).
  public var cacheBytes: Int
  /// What matrices are multiplied as: `f32`, `bf16`, `int8` or `int4`. Nil: the stored numbers.
  public var dtype: String?
  /// How keys and values are kept: `f32`, `bf16`, `int8`, or `auto` (generate). Nil: `auto`, what suits the weights.
  public var cacheDtype: String?
  /// Threads that compute. Nil: one.
  public var threads: Int?
  /// In how many parts the model is computed, one process each (generate). Nil: one.
  public var ranks: Int?
  /// The most tokens that are supposed to follow and computed together with a request's last one (generate). Nil: none.
  public var speculate: Int?
  /// The most adapters in memory (generate). Nil: `AdapterCall.residentsDefault`.
  public var maxLoras: Int?
  /// Adapters that are loaded and let go again, when all that is asked is whether the replica would serve.
  public var checkedAdapters: [AdapterCall]?

  public static let cacheBytesDefault = 256 << 20

  public init(
    role: String, modelDirectory: String, indexDirectory: String? = nil, coordinatorKey: String, cacheBytes: Int = Self.cacheBytesDefault,
    dtype: String? = nil, threads: Int? = nil, ranks: Int? = nil, speculate: Int? = nil,
    maxLoras: Int? = nil, cacheDtype: String? = nil
  ) {
    self.cacheDtype = cacheDtype
    self.ranks = ranks
    self.maxLoras = maxLoras
    self.speculate = speculate
    self.dtype = dtype
    self.threads = threads
    self.role = role
    self.modelDirectory = modelDirectory
    self.indexDirectory = indexDirectory
    self.coordinatorKey = coordinatorKey
    self.cacheBytes = cacheBytes
  }
}

/// Vectors for a slice of a table: payload of work of kind `embed`.
public struct EmbedShard: Codable, Sendable, Equatable {
  /// Parquet files with `chunk_id`, `path` and `text` columns.
  public var files: [String]
  public var modelDirectory: String
  /// Where the parquet file with `chunk_id`, `path`, `text`, `embedding` is written.
  public var output: String

  public init(files: [String], modelDirectory: String, output: String) {
    self.files = files
    self.modelDirectory = modelDirectory
    self.output = output
  }
}

/// One vector index over a table of embeddings: payload of work of kind `index.build`.
public struct IndexBuildShard: Codable, Sendable, Equatable {
  public var files: [String]
  public var folder: String
  public var sourceTable: String
  public var sourceVersion: Int64
  public var embeddingModel: String
  public var dimension: Int

  public init(
    files: [String], folder: String, sourceTable: String, sourceVersion: Int64, embeddingModel: String, dimension: Int
  ) {
    self.files = files
    self.folder = folder
    self.sourceTable = sourceTable
    self.sourceVersion = sourceVersion
    self.embeddingModel = embeddingModel
    self.dimension = dimension
  }
}

public struct IndexBuildResult: Codable, Sendable, Equatable {
  public var rows: Int
  public var recallAt10: Double
  public init(rows: Int, recallAt10: Double) {
    self.rows = rows
    self.recallAt10 = recallAt10
  }
}
