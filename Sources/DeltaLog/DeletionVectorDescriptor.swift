// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation

/// Where the deletion vector of a data file is ("Deletion Vector Descriptor Schema").
public struct DeletionVectorDescriptor: Sendable, Hashable, Codable {
  public enum Storage: String, Sendable, Hashable, Codable {
    /// A file below the table's folder, named by a UUID.
    case relative = "u"
    /// In the log itself.
    case inline = "i"
    /// A file elsewhere.
    case absolute = "p"
  }

  public var storage: Storage
  public var pathOrInlineDv: String
  /// Where the vector's size field starts in its file.
  public var offset: Int?
  /// Bytes of the serialised vector, without size field and checksum.
  public var sizeInBytes: Int
  /// Rows that the vector removes.
  public var cardinality: Int64

  public init(storage: Storage, pathOrInlineDv: String, offset: Int?, sizeInBytes: Int, cardinality: Int64) {
    self.storage = storage
    self.pathOrInlineDv = pathOrInlineDv
    self.offset = offset
    self.sizeInBytes = sizeInBytes
    self.cardinality = cardinality
  }

  /// Tells vectors of one data file apart (`uniqueId` of the protocol).
  public var uniqueId: String { storage.rawValue + pathOrInlineDv + (offset.map { "@\($0)" } ?? "") }

  /// The vector's file below the table's folder; nil unless the storage is `relative`.
  /// - Throws: `invalidFile` for a name that is no UUID or a prefix that leaves the table.
  public func relativePath() throws -> String? {
    guard storage == .relative else { return nil }
    let text = pathOrInlineDv
    guard text.utf8.count >= 20, text.utf8.allSatisfy({ $0 >= 33 && $0 < 127 }) else {
      throw PlatformError(.invalidFile, "a deletion vector's file name is damaged", path: String(text.prefix(200)))
    }
    let bytes = try Z85.decode(text.suffix(20))
    let prefix = String(text.dropLast(20))
    let hex = bytes.hexadecimal
    var uuid = ""
    for (index, character) in hex.enumerated() {
      if [8, 12, 16, 20].contains(index) { uuid.append("-") }
      uuid.append(character)
    }
    let name = "deletion_vector_\(uuid).bin"
    let path = prefix.isEmpty ? name : "\(prefix)/\(name)"
    guard try DeltaPath.decode(DeltaPath.encode(path)) == path else {
      throw PlatformError(.invalidFile, "a deletion vector's file name is damaged", path: path)
    }
    return path
  }

  /// A descriptor for a vector in the file that `uuid` names.
  public static func file(_ uuid: UUID, prefix: String = "", offset: Int, sizeInBytes: Int, cardinality: Int64) -> DeletionVectorDescriptor {
    let bytes = withUnsafeBytes(of: uuid.uuid) { Array($0) }
    return DeletionVectorDescriptor(
      storage: .relative, pathOrInlineDv: prefix + Z85.encode(bytes), offset: offset, sizeInBytes: sizeInBytes, cardinality: cardinality)
  }

  /// A descriptor that holds the vector itself. For small vectors: every reader of the log loads it.
  public static func inline(_ vector: DeletionVector) -> DeletionVectorDescriptor {
    let bytes = vector.serialized()
    return DeletionVectorDescriptor(
      storage: .inline, pathOrInlineDv: Z85.encode(bytes), offset: nil, sizeInBytes: bytes.count, cardinality: vector.cardinality)
  }

  init(_ scanner: inout JSONScanner) throws {
    var storageText: String?
    var path: String?
    var offset: Int64?
    var size: Int64?
    var cardinality: Int64?
    try scanner.members { scanner, key in
      switch key {
      case "storageType": storageText = try scanner.stringOrNull()
      case "pathOrInlineDv": path = try scanner.stringOrNull()
      case "offset": offset = try scanner.sizeOrNull()
      case "sizeInBytes": size = try scanner.sizeOrNull()
      case "cardinality": cardinality = try scanner.sizeOrNull()
      default: try scanner.skip()
      }
    }
    let kind = try scanner.required(storageText, "storageType")
    guard let storage = Storage(rawValue: kind) else {
      throw scanner.fault("the deletion vector storage '\(kind.prefix(20))' is unknown")
    }
    guard let sizeInBytes = Int32(exactly: try scanner.required(size, "sizeInBytes")),
      let start = Int32(exactly: offset ?? 0)
    else { throw scanner.fault("a deletion vector that is too large") }
    self.init(
      storage: storage, pathOrInlineDv: try scanner.required(path, "pathOrInlineDv"), offset: offset == nil ? nil : Int(start),
      sizeInBytes: Int(sizeInBytes), cardinality: try scanner.required(cardinality, "cardinality"))
  }

  func write(_ out: inout JSONText) {
    out.key("deletionVector")
    out.object {
      $0.member("storageType", storage.rawValue)
      $0.member("pathOrInlineDv", pathOrInlineDv)
      $0.member("offset", offset)
      $0.member("sizeInBytes", sizeInBytes)
      $0.member("cardinality", cardinality)
    }
  }
}
