// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// `manifest.json` of an index folder. Written last and without a clock: the same rows give the same bytes.
public struct VectorIndexManifest: Sendable, Codable, Equatable {
  public struct File: Sendable, Codable, Equatable {
    public var name: String
    public var sizeBytes: Int
    public var sha256: String
  }

  public static let currentFormat = "platform-vector-index/1"

  public var format: String
  public var dimension: Int
  public var metric: VectorMetric
  public var count: Int
  public var parameters: HNSWParameters
  /// Table that the rows came from, as `catalog.schema.table`, and its version.
  public var sourceTable: String
  public var sourceVersion: Int64
  /// Which model made the vectors, so that queries are embedded by the same.
  public var embeddingModel: String
  /// Share of the true 10 nearest that `recallQueries` searches with `recallEf` candidates found when it was built.
  public var recallAt10: Double
  public var recallQueries: Int
  public var recallEf: Int
  public var files: [File]
}

/// One found row with its text.
public struct VectorSearchHit: Sendable, Codable, Equatable {
  public var row: Int
  /// Larger is nearer: the cosine, or minus the squared distance.
  public var score: Float
  public var payload: VectorPayload
}

/// Collects rows and writes them as an index folder: `graph.hnsw`, `payload.bin`, `manifest.json`.
public final class VectorIndexBuilder {
  private let index: HNSWIndex
  private let parameters: HNSWParameters
  private let folder: String
  private let staging: String
  private let payloads: PayloadWriter
  private var finished = false
  public private(set) var count = 0

  /// Starts `folder`, which must not exist yet; it appears only when `finish` succeeds.
  /// - Throws: `alreadyExists`, `invalidArgument` for parameters out of range, or what creating files throws.
  public init(
    folder: String, dimension: Int, metric: VectorMetric = .cosine, capacity: Int,
    parameters: HNSWParameters = HNSWParameters()
  ) throws {
    guard !FileManager.default.fileExists(atPath: folder) else {
      throw PlatformError(.alreadyExists, "there is an index folder of that name", path: folder)
    }
    index = try HNSWIndex(dimension: dimension, metric: metric, capacity: capacity, parameters: parameters)
    self.parameters = parameters
    self.folder = folder
    staging = "\(folder).\(getpid()).\(UInt32.random(in: 0 ... .max)).tmp"
    do {
      try FileManager.default.createDirectory(atPath: staging, withIntermediateDirectories: true)
    } catch {
      throw PlatformError(.unavailable, "cannot create the folder: \(error.localizedDescription)", path: staging)
    }
    payloads = try PayloadWriter(path: staging + "/payload.bin")
  }

  // A staging folder that cannot be removed is only lost space.
  deinit { if !finished { try? FileManager.default.removeItem(atPath: staging) } }

  /// Adds rows; call it with some thousands at a time. `threads` above 1 is faster, but the graph then varies a little.
  /// - Throws: `invalidArgument` when a vector does not fit (nothing of the call was added), `resourceExhausted`.
  public func add(_ rows: [(vector: [Float], payload: VectorPayload)], threads: Int = 1) throws {
    try index.add(rows.map(\.vector), threads: threads)
    for row in rows { try payloads.add(row.payload) }
    count += rows.count
  }

  /// Measures recall, writes and syncs the files, and renames the folder into place. The builder is used up.
  /// - Throws: `unavailable`, `resourceExhausted`, or `alreadyExists` when somebody made the folder meanwhile.
  public func finish(
    sourceTable: String, sourceVersion: Int64, embeddingModel: String, recallQueries: Int = 100
  ) throws -> VectorIndexManifest {
    try payloads.finish()
    try index.save(graphFile: staging + "/graph.hnsw")
    let files = try ["graph.hnsw", "payload.bin"].map { name in
      let path = "\(staging)/\(name)"
      try Self.sync(path)
      let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
      return VectorIndexManifest.File(name: name, sizeBytes: size, sha256: try SHA256Digest.hex(contentsOf: path))
    }
    let manifest = VectorIndexManifest(
      format: VectorIndexManifest.currentFormat, dimension: index.dimension, metric: index.metric, count: count,
      parameters: parameters, sourceTable: sourceTable, sourceVersion: sourceVersion, embeddingModel: embeddingModel,
      recallAt10: try index.recall(k: 10, sample: recallQueries), recallQueries: min(recallQueries, count),
      recallEf: HNSWIndex.defaultEf, files: files)
    let path = staging + "/manifest.json"
    do {
      try JSONEncoder.platform.encode(manifest).write(to: URL(fileURLWithPath: path))
    } catch {
      throw PlatformError(.unavailable, "cannot write the manifest: \(error.localizedDescription)", path: path)
    }
    try Self.sync(path)
    try Self.sync(staging)
    guard rename(staging, folder) == 0 else {
      if errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR {
        throw PlatformError(.alreadyExists, "there is an index folder of that name", path: folder)
      }
      throw PayloadWriter.failure("renaming", folder)
    }
    finished = true
    return manifest
  }

  private static func sync(_ path: String) throws {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw PayloadWriter.failure("opening", path) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw PayloadWriter.failure("syncing", path) }
  }
}

/// An index folder, opened for searching.
public final class StoredVectorIndex: Sendable {
  public let path: String
  public let manifest: VectorIndexManifest
  public let index: HNSWIndex
  public let payloads: PayloadStore

  /// Reads the manifest, verifies size and SHA-256 of every file, then loads the graph into memory (the payloads stay
  /// mapped). Takes about a second a gigabyte.
  /// - Throws: `notFound`; `invalidFile` (PLT-4601 graph or manifest, PLT-4602 payloads) saying which file is torn or
  ///   foreign.
  public init(path: String) throws {
    self.path = path
    let manifestPath = path + "/manifest.json"
    guard let data = FileManager.default.contents(atPath: manifestPath) else {
      throw PlatformError(.notFound, "there is no vector index (no manifest.json)", number: "PLT-4601", path: path)
    }
    func bad(_ message: String, _ path: String) -> PlatformError {
      PlatformError(.invalidFile, message, hint: "Build the index again.", number: "PLT-4601", path: path)
    }
    let json: JSONValue
    do {
      json = try JSONValue(parsing: data)
    } catch {
      throw bad(PlatformError.from(error).message, manifestPath)
    }
    guard json["format"]?.stringValue == VectorIndexManifest.currentFormat else {
      throw bad(
        "format '\(json["format"]?.stringValue ?? "none")' is not \(VectorIndexManifest.currentFormat)", manifestPath)
    }
    do {
      manifest = try JSONDecoder.platform.decode(VectorIndexManifest.self, from: data)
    } catch {
      throw bad("manifest: \(JSONValue.reason(error))", manifestPath)
    }
    guard manifest.files.map(\.name).sorted() == ["graph.hnsw", "payload.bin"] else {
      throw bad("manifest lists other files than graph.hnsw and payload.bin", manifestPath)
    }
    guard (1...65_536).contains(manifest.dimension) else {
      throw bad("manifest has dimension \(manifest.dimension)", manifestPath)
    }
    for file in manifest.files {
      let filePath = "\(path)/\(file.name)"
      guard let size = try? FileManager.default.attributesOfItem(atPath: filePath)[.size] as? Int else {
        throw bad("the manifest lists this file, but it is not there", filePath)
      }
      guard size == file.sizeBytes else {
        throw bad("truncated or foreign: manifest promises \(file.sizeBytes) bytes, file has \(size)", filePath)
      }
      let digest = try SHA256Digest.hex(contentsOf: filePath)
      guard digest == file.sha256 else { throw bad("SHA-256 differs from the manifest: the file was changed", filePath) }
    }
    index = try HNSWIndex(
      graphFile: path + "/graph.hnsw", dimension: manifest.dimension, metric: manifest.metric, count: manifest.count)
    payloads = try PayloadStore(path: path + "/payload.bin")
    guard payloads.count == manifest.count else {
      throw bad("payload.bin has \(payloads.count) rows, the manifest \(manifest.count)", path)
    }
  }

  /// The `k` nearest rows with their texts, nearest first. Blocks for the search; any number may run at once.
  /// - Throws: `invalidArgument` for a query of another dimension, not finite, or `k` below 1.
  public func search(_ query: [Float], k: Int, ef: Int? = nil) throws -> [VectorSearchHit] {
    try index.search(query, k: k, ef: ef).map {
      VectorSearchHit(row: $0.row, score: $0.score(manifest.metric), payload: try payloads.payload($0.row))
    }
  }
}
