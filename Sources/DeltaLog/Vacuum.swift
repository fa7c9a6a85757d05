// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation
public import ObjectStore

/// Which files of a table's folder belong to no version that is still kept. Pure.
public struct Vacuum: Sendable {
  /// What may go.
  public struct Decision: Sendable, Hashable {
    public var files: [ObjectInfo]
    public var sizeInBytes: Int64 { files.reduce(0) { $0.addingReportingOverflow(Int64($1.size)).partialValue } }
  }

  let prefix: String
  private let kept: Set<String>
  private let cut: Int64

  /// - Parameters:
  ///   - tablePath: the table's folder.
  ///   - retentionMilliseconds: nil: the table's own. Removed files stay that long, and so do files that are in no version (yet).
  ///   - isForced: allows a shorter retention than the table's: readers and writers at work may lose files.
  /// - Throws: `invalidArgument` for a retention below the table's; `invalidFile` for paths that leave the table.
  public init(
    _ snapshot: Snapshot, tablePath: ObjectPath, now: Int64, retentionMilliseconds: Int64? = nil, isForced: Bool = false
  ) throws {
    let own = snapshot.properties.deletedFileRetentionMilliseconds
    let retention = retentionMilliseconds ?? own
    guard retention >= 0, isForced || retention >= own else {
      throw PlatformError(
        .invalidArgument, "a retention of \(retention / 3_600_000) hours is below the table's \(own / 3_600_000) hours",
        hint: "Other readers and writers could lose files. Force it when there are none.")
    }
    prefix = tablePath.text + "/"
    cut = now.subtractingReportingOverflow(retention).partialValue
    var kept: Set<String> = []
    func keep(_ path: String, _ vector: DeletionVectorDescriptor?) throws {
      try keep(location: path)
      if let relative = try vector?.relativePath() { kept.insert(relative) }
      if let vector, vector.storage == .absolute { try keep(location: vector.pathOrInlineDv) }
    }
    func keep(location path: String) throws {
      switch try DeltaPath.location(path) {
      case .relative(let relative): kept.insert(relative)
      case .absolute(let uri):
        // It may name this very folder: whatever its end could mean below it stays.
        var rest = Substring(uri.removingPercentEncoding ?? uri)
        while let slash = rest.firstIndex(of: "/") {
          rest = rest[rest.index(after: slash)...]
          kept.insert(String(rest))
        }
      }
    }
    for file in snapshot.filesByPath.values { try keep(file.path, file.deletionVector) }
    for file in snapshot.tombstones.values where (file.deletionTimestamp ?? 0) > cut { try keep(file.path, file.deletionVector) }
    self.kept = kept
  }

  /// Hidden files and folders (`_..`, `.`) belong to others, but for partition folders (`_col=..`) and change files.
  static func isHidden(_ relative: String) -> Bool {
    let parts = PathText.components(relative)
    for (index, part) in parts.enumerated() {
      if part.hasPrefix(".") { return true }
      guard part.hasPrefix("_") else { continue }
      let isFolder = index < parts.count - 1
      if isFolder && (part.contains("=") || (index == 0 && part == ChangeDataFeed.folder)) { continue }
      return true
    }
    return false
  }

  /// - Parameter objects: everything below the table's folder.
  public func decide(_ objects: [ObjectInfo]) -> Decision {
    Decision(
      files: objects.filter { info in
        guard info.path.text.hasPrefix(prefix) else { return false }
        let relative = String(info.path.text.dropFirst(prefix.count))
        return !Self.isHidden(relative) && !kept.contains(relative) && info.modifiedMilliseconds < cut
      })
  }
}

extension DeltaTable {
  /// Deletes files that no kept version needs.
  /// - Parameter isDryRun: only tells which.
  /// - Throws: as `Vacuum`; `invalidFile` for a table with writer features that are unknown here ("VACUUM Protocol Check").
  public func vacuum(
    retentionMilliseconds: Int64? = nil, isForced: Bool = false, isDryRun: Bool = false, now: Int64 = ProcessSupport.wallMilliseconds
  ) throws -> Vacuum.Decision {
    let snapshot = try snapshot()
    try snapshot.tableProtocol.checkWritable(active: [], data: dataFeatures)
    let vacuum = try Vacuum(
      snapshot, tablePath: path, now: now, retentionMilliseconds: retentionMilliseconds, isForced: isForced)
    // Names that the store itself refuses are not ours; what is listed can be deleted.
    let decision = vacuum.decide(try store.list(path))
    if !isDryRun { for file in decision.files { try store.delete(file.path) } }
    return decision
  }
}
