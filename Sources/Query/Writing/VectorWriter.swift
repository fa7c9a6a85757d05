// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import Foundation

/// Writes the file of deletion vectors of one statement, vector by vector. Without one there is no file.
struct VectorWriter {
  /// The table's folder.
  let folder: String

  private let uuid = UUID()
  private var layout = DeletionVectorFile.Layout()
  private var path: String?
  private var descriptor: Int32 = -1

  init(folder: String) { self.folder = folder }

  /// - Returns: what the log says of the vector, once `finish` has returned.
  mutating func write(_ vector: DeletionVector) throws -> DeletionVectorDescriptor {
    let isFirst = path == nil
    let (bytes, offset, size) = try layout.next(vector)
    let found = DeletionVectorDescriptor.file(uuid, offset: offset, sizeInBytes: size, cardinality: vector.cardinality)
    if isFirst {
      guard let relative = try found.relativePath() else { throw PlatformError(.internalError, "a deletion vector has no file") }
      let file = folder + "/" + relative
      descriptor = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
      guard descriptor >= 0 else { throw PlatformError.system("create the file of deletion vectors", file) }
      path = file
      try DurableFile.write(layout.head, to: descriptor, file)
    }
    try DurableFile.write(bytes, to: descriptor, path ?? "")
    return found
  }

  /// Waits until the file is on the disk, if there is one.
  mutating func finish() throws {
    guard let path else { return }
    guard fsync(descriptor) == 0 else { throw PlatformError.system("make the file of deletion vectors durable", path) }
    close(descriptor)
    descriptor = -1
    try DurableFile.sync(folder, flags: O_RDONLY | O_DIRECTORY)
  }

  /// Takes an unfinished file away.
  mutating func discard() {
    guard let path else { return }
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
    unlink(path)
  }
}
