// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Row ids and row commit versions ("Row Tracking").
public enum RowTracking {
  /// The metadata domain that keeps the highest row id.
  public static let domain = "delta.rowTracking"
  public static let rowIdColumnProperty = "delta.rowTracking.materializedRowIdColumnName"
  public static let rowCommitVersionColumnProperty = "delta.rowTracking.materializedRowCommitVersionColumnName"

  /// Whether writers have to assign row ids.
  public static func isAssigned(_ tableProtocol: TableProtocol, _ properties: TableProperties) -> Bool {
    tableProtocol.supports(.rowTracking) && !properties.isRowTrackingSuspended
  }

  /// The highest row id that was ever assigned; nil: none was.
  public static func highWaterMark(_ domains: [String: DomainMetadata]) throws -> Int64? {
    guard let text = domains[domain]?.configuration else { return nil }
    // An unreadable mark must not lead to ids that are given twice.
    guard let mark = try? JSONScanner.value(text)["rowIdHighWaterMark"], case .integer(let value) = mark, value >= -1 else {
      throw PlatformError(.invalidFile, "the table's highest row id cannot be read")
    }
    return value
  }

  /// A name for a column of data files that no table's own column has.
  static func newColumnName(_ property: String) -> String {
    (property == rowIdColumnProperty ? "_row-id-col-" : "_row-commit-version-col-") + UUID().uuidString.lowercased()
  }

  /// Actions that give ids to the files that have none yet: to be committed after the protocol supports row tracking, before
  /// `delta.enableRowTracking` is set. The commit assigns the ids.
  public static func backfill(_ base: Snapshot) -> [Action] {
    base.files.filter { $0.baseRowId == nil }.map {
      var file = $0
      file.dataChange = false
      return .add(file)
    }
  }

  static func domainAction(_ mark: Int64) -> Action {
    .domain(DomainMetadata(domain: domain, configuration: "{\"rowIdHighWaterMark\":\(mark)}"))
  }

  /// `actions` with row ids for files that have none. A file that is there already keeps its ids.
  /// - Parameter version: the version that the actions will be.
  /// - Throws: `invalidArgument` for a file without `numRecords`; `resourceExhausted` when the ids are used up.
  public static func assign(_ actions: [Action], base: Snapshot, version: Int64) throws -> [Action] {
    var result: [Action] = []
    var mark = try highWaterMark(base.domains) ?? -1
    let start = mark
    for action in actions {
      switch action {
      case .add(var file):
        if file.baseRowId == nil, let present = base.filesByPath[file.path] {
          file.baseRowId = present.baseRowId
          file.defaultRowCommitVersion = file.defaultRowCommitVersion ?? present.defaultRowCommitVersion
        }
        if file.baseRowId == nil {
          guard let rows = file.physicalRowCount else {
            throw PlatformError(.invalidArgument, "the table tracks rows, so every file needs numRecords in its statistics", path: file.path)
          }
          let (next, overflow) = mark.addingReportingOverflow(rows)
          guard !overflow else { throw PlatformError(.resourceExhausted, "the table has no row ids left") }
          file.baseRowId = mark + 1
          mark = next
        } else if let own = file.baseRowId, let rows = file.physicalRowCount {
          // Ids that came with the file (restored, cloned) are used up too.
          let (last, overflow) = own.addingReportingOverflow(max(0, rows - 1))
          guard !overflow else { throw PlatformError(.resourceExhausted, "the table has no row ids left") }
          mark = max(mark, last)
        }
        file.defaultRowCommitVersion = file.defaultRowCommitVersion ?? version
        result.append(.add(file))
      case .domain(let value) where value.domain == domain: break  // assigned below
      default: result.append(action)
      }
    }
    if mark > start { result.append(domainAction(mark)) }
    return result
  }
}
