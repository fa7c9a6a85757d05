// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation

/// The deletion vectors of a list of files, for the engine to ask.
final class DeletedRows: RowFilter {
  private let vectors: [DeletionVector]

  /// Reads every vector. Blocks.
  /// - Throws: `invalidFile` with the vector's file, when it is damaged or has another number of rows than the log says.
  init(_ files: [TableScan.File]) throws {
    vectors = try files.map { file in
      guard let deletions = file.deletions else { return DeletionVector() }
      return try Self.read(deletions, of: file.path)
    }
  }

  /// The rows that are gone of the data file `path`. Blocks.
  /// - Throws: as `init(_:)`.
  static func read(_ deletions: TableScan.Deletions, of path: String) throws -> DeletionVector {
    do {
      return try read(deletions)
    } catch {
      let reason = PlatformError.from(error)
      throw PlatformError(reason.code, "\(reason.message) (deleted rows of \((path as NSString).lastPathComponent))", path: deletions.path ?? path)
    }
  }

  private static func read(_ deletions: TableScan.Deletions) throws -> DeletionVector {
    let descriptor = DeletionVectorDescriptor(
      storage: deletions.inline == nil ? .absolute : .inline, pathOrInlineDv: deletions.inline ?? deletions.path ?? "", offset: deletions.offset,
      sizeInBytes: deletions.sizeInBytes, cardinality: deletions.cardinality)
    guard let path = deletions.path else { return try DeletionVectorFile.decodeInline(descriptor) }
    guard descriptor.sizeInBytes >= 0, (descriptor.offset ?? 0) >= 0 else { throw PlatformError(.invalidFile, "a deletion vector has no size") }
    let range = DeletionVectorFile.range(descriptor)
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else {
      throw errno == ENOENT
        ? PlatformError(.invalidFile, "a file of deletion vectors is missing") : PlatformError.system("open a file of deletion vectors", path)
    }
    defer { close(file) }
    var info = stat()
    guard fstat(file, &info) == 0, Int64(range.upperBound) <= Int64(info.st_size) else {
      throw PlatformError(.invalidFile, "a file of deletion vectors ends early")
    }
    var bytes = Data(count: range.count)
    let read = bytes.withUnsafeMutableBytes { pread(file, $0.baseAddress, $0.count, off_t(range.lowerBound)) }
    guard read == range.count else { throw PlatformError(.invalidFile, "a file of deletion vectors ends early") }
    return try DeletionVectorFile.decode(bytes, descriptor)
  }

  func judge(files: UnsafeBufferPointer<UInt64>, rows: UnsafeBufferPointer<Int64>, keeps: UnsafeMutableBufferPointer<UInt8>) {
    var index = 0
    while index < files.count {
      let file = files[index]
      var end = index + 1
      while end < files.count, files[end] == file { end += 1 }
      keeps[index..<end].update(repeating: 1)
      if file < UInt64(vectors.count) { judge(vectors[Int(file)], rows, index..<end, keeps) }
      index = end
    }
  }

  private func judge(_ vector: DeletionVector, _ rows: UnsafeBufferPointer<Int64>, _ range: Range<Int>, _ keeps: UnsafeMutableBufferPointer<UInt8>) {
    let first = rows[range.lowerBound]
    guard first >= 0 else { return }
    // A chunk is mostly a run of adjacent rows: marked at once. Where a filter has taken rows out, each is looked up.
    if rows[range.upperBound - 1] - first == Int64(range.count - 1), range.indices.allSatisfy({ rows[$0] - first == Int64($0 - range.lowerBound) }) {
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: range.count) { gone in
        gone.initialize(repeating: 0)
        vector.mark(gone, from: UInt64(first))
        for offset in 0..<range.count where gone[offset] == 1 { keeps[range.lowerBound + offset] = 0 }
      }
      return
    }
    for index in range where rows[index] >= 0 && vector.contains(UInt64(rows[index])) { keeps[index] = 0 }
  }
}
