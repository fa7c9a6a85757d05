// SPDX-License-Identifier: Apache-2.0

import DuckDB

/// The tables of the last query, still open: the next one over the very same files finds their views made, their footers read and the
/// database shut off.
///
/// Only a query with the same tables, views, functions, user and values takes them over, so that it may read all that is open and finds
/// nothing that is somebody else's. Queries alone leave their tables open: they change nothing. One that failed, was interrupted or was not read to its end does not.
struct OpenedTables {
  /// All that was made for the query but its own text.
  struct Key: Equatable {
    private let tables: [StatementSpec.Table]
    private let definitions: [StatementDefinition]
    private let variables: [StatementVariable]

    /// Nil for statements that write, and for those whose rows come from elsewhere.
    init?(_ spec: StatementSpec) {
      guard spec.kind == .select, !spec.tables.isEmpty, spec.fileReads.isEmpty, spec.outputDirectory == nil, spec.change == nil, spec.postgres == nil,
        spec.records == nil
      else { return nil }
      tables = spec.tables
      definitions = spec.definitions
      variables = spec.variables
    }
  }

  let connection: Connection
  /// Nil: to be closed.
  let key: Key?
}
