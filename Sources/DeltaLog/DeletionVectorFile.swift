// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation

/// Files of deletion vectors ("Deletion Vector File Storage Format"): a version byte, then for each vector its size, the
/// serialised vector and a CRC-32, numbers with the big end first.
public enum DeletionVectorFile {
  static let version: UInt8 = 1

  /// A file that is written one vector after the other.
  public struct Layout: Sendable {
    /// Of the file so far.
    public private(set) var size = 1
    public init() {}

    /// What the file begins with.
    public var head: [UInt8] { [version] }

    /// The bytes of the next vector, and the place that its descriptor names.
    public mutating func next(_ vector: DeletionVector) throws -> (bytes: [UInt8], offset: Int, sizeInBytes: Int) {
      let body = vector.serialized()
      guard let length = Int32(exactly: body.count), let offset = Int32(exactly: size) else {
        throw PlatformError(.resourceExhausted, "a file of deletion vectors would exceed 2 GiB")
      }
      var out: [UInt8] = []
      out.reserveCapacity(body.count + 8)
      withUnsafeBytes(of: length.bigEndian) { out.append(contentsOf: $0) }
      out.append(contentsOf: body)
      withUnsafeBytes(of: body.withUnsafeBytes(CRC32.checksum).bigEndian) { out.append(contentsOf: $0) }
      size += out.count
      return (out, Int(offset), body.count)
    }
  }

  /// One file that holds `vectors`.
  /// - Returns: the file's bytes, and for each vector where its size field starts and how large it is.
  public static func encode(_ vectors: [DeletionVector]) throws -> (file: Data, places: [(offset: Int, sizeInBytes: Int)]) {
    var layout = Layout()
    var out = Data(layout.head)
    var places: [(offset: Int, sizeInBytes: Int)] = []
    for vector in vectors {
      let (bytes, offset, size) = try layout.next(vector)
      out.append(contentsOf: bytes)
      places.append((offset, size))
    }
    return (out, places)
  }

  /// The bytes of a file that `decode` needs for this descriptor.
  public static func range(_ descriptor: DeletionVectorDescriptor) -> Range<Int> {
    let start = descriptor.offset ?? 1  // behind the version byte
    return start..<start + 8 + descriptor.sizeInBytes
  }

  /// - Parameter bytes: what lies in `range(descriptor)` of the vector's file.
  /// - Throws: `invalidFile` for a wrong size, checksum or number of rows, and for a damaged vector.
  public static func decode(_ bytes: Data, _ descriptor: DeletionVectorDescriptor) throws -> DeletionVector {
    let size = descriptor.sizeInBytes
    guard bytes.count == size + 8 else { throw PlatformError(.invalidFile, "a file of deletion vectors ends early") }
    return try bytes.withUnsafeBytes { raw in
      let stated = UInt32(bigEndian: raw.loadUnaligned(as: UInt32.self))
      guard UInt64(stated) == UInt64(size) else {
        throw PlatformError(.invalidFile, "a deletion vector has \(stated) bytes, the table's log says \(size)")
      }
      let body = UnsafeRawBufferPointer(rebasing: raw[4..<4 + size])
      let checksum = UInt32(bigEndian: raw.loadUnaligned(fromByteOffset: 4 + size, as: UInt32.self))
      guard CRC32.checksum(body) == checksum else { throw PlatformError(.invalidFile, "a deletion vector has a wrong checksum") }
      return try checked(DeletionVector(serialized: Array(body)), descriptor)
    }
  }

  /// A vector that the descriptor itself holds.
  /// - Throws: as `decode`.
  public static func decodeInline(_ descriptor: DeletionVectorDescriptor) throws -> DeletionVector {
    let bytes = try Z85.decode(descriptor.pathOrInlineDv)
    guard bytes.count >= descriptor.sizeInBytes, bytes.count - descriptor.sizeInBytes < 4 else {
      throw PlatformError(
        .invalidFile, "an inline deletion vector has \(bytes.count) bytes, the table's log says \(descriptor.sizeInBytes)")
    }
    return try checked(DeletionVector(serialized: Array(bytes.prefix(descriptor.sizeInBytes))), descriptor)
  }

  private static func checked(_ vector: DeletionVector, _ descriptor: DeletionVectorDescriptor) throws -> DeletionVector {
    guard vector.cardinality == descriptor.cardinality else {
      throw PlatformError(
        .invalidFile, "a deletion vector has \(vector.cardinality) rows, the table's log says \(descriptor.cardinality)")
    }
    return vector
  }
}
