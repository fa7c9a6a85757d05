// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
import ObjectStore

extension DeltaTable {
  /// The deleted rows of `file`; nil when it has no deletion vector.
  /// - Parameter external: reads a range of a file outside of the table (an absolute path or URI); without it those are refused.
  /// - Throws: `invalidFile` for a damaged vector, a wrong checksum or another number of rows than stated.
  public func deletionVector(
    of file: AddFile, external: ((_ location: String, _ range: Range<Int>) throws -> Data)? = nil
  ) throws -> DeletionVector? {
    try file.deletionVector.flatMap { try deletionVector($0, external: external) }
  }

  /// The rows that `descriptor` stands for.
  /// - Throws: as `deletionVector(of:external:)`.
  public func deletionVector(
    _ descriptor: DeletionVectorDescriptor, external: ((_ location: String, _ range: Range<Int>) throws -> Data)? = nil
  ) throws -> DeletionVector {
    switch descriptor.storage {
    case .inline: return try DeletionVectorFile.decodeInline(descriptor)
    case .relative:
      guard let relative = try descriptor.relativePath() else { return DeletionVector() }
      return try read(descriptor) { try store.get(path.appending(relative), range: $0) }
    case .absolute:
      guard case .absolute(let location) = try DeltaPath.location(descriptor.pathOrInlineDv), let external else {
        throw PlatformError(.invalidFile, "a deletion vector lies outside of the table", path: descriptor.pathOrInlineDv)
      }
      return try read(descriptor) { try external(location, $0) }
    }
  }

  private func read(_ descriptor: DeletionVectorDescriptor, _ body: (Range<Int>) throws -> Data) throws -> DeletionVector {
    let bytes: Data
    do { bytes = try body(DeletionVectorFile.range(descriptor)) } catch let error as PlatformError where error.code == .invalidArgument {
      throw PlatformError(.invalidFile, "a file of deletion vectors ends early", path: error.path)
    }
    return try DeletionVectorFile.decode(bytes, descriptor)
  }

  /// Writes one file that holds `vectors`, which may belong to files of several partitions.
  /// - Returns: a descriptor for each.
  public func writeDeletionVectors(_ vectors: [DeletionVector]) throws -> [DeletionVectorDescriptor] {
    guard !vectors.isEmpty else { return [] }
    let (file, places) = try DeletionVectorFile.encode(vectors)
    let uuid = UUID()
    let descriptors = zip(vectors, places).map {
      DeletionVectorDescriptor.file(uuid, offset: $1.offset, sizeInBytes: $1.sizeInBytes, cardinality: $0.cardinality)
    }
    guard let relative = try descriptors[0].relativePath() else { return [] }
    try store.putIfAbsent(path.appending(relative), file)
    return descriptors
  }
}
