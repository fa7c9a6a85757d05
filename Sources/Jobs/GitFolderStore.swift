// SPDX-License-Identifier: Apache-2.0

import Core
public import Postgres

/// A repository in the workspace, at one commit.
public struct GitFolder: Sendable, Equatable {
  public var id: Int64
  public var path: String
  public var url: String
  /// As Databricks spells it; empty for a folder of the coordinator's machine.
  public var provider: String
  /// Nil when it is at a tag, or when the other side is at no branch.
  public var branch: String?
  public var tag: String?
  public var commit: String
  /// Where its objects are, below the folder of all repositories.
  public var place: String

  public init(id: Int64, path: String, url: String, provider: String, branch: String?, tag: String?, commit: String, place: String) {
    (self.id, self.path, self.url, self.provider) = (id, path, url, provider)
    (self.branch, self.tag, self.commit, self.place) = (branch, tag, commit, place)
  }
}

/// Which git folders there are.
public struct GitFolderStore: Sendable {
  let pool: PostgresPool
  public init(pool: PostgresPool) { self.pool = pool }

  public static let migrations = [
    Migration(
      component: "git folders", number: 1, name: "git folders",
      sql: """
        CREATE TABLE git_folders (
          folder_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
          path text COLLATE "C" NOT NULL UNIQUE,
          url text NOT NULL,
          provider text NOT NULL,
          branch text,
          tag text,
          head text NOT NULL,
          place text NOT NULL,
          created_by text NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now()
        );
        """)
  ]

  private static let columns = "SELECT folder_id, path, url, provider, branch, tag, head, place FROM git_folders"

  private static func folder(_ row: PostgresRow) throws -> GitFolder {
    GitFolder(
      id: Int64(try row.int("folder_id")), path: try row.string("path"), url: try row.string("url"), provider: try row.string("provider"),
      branch: try row.get("branch", as: String?.self), tag: try row.get("tag", as: String?.self), commit: try row.string("head"),
      place: try row.string("place"))
  }

  private static func none(_ id: Int64) -> PlatformError {
    PlatformError(.notFound, "there is no git folder \(id)", hint: "List them with 'platform repos list'.", number: "PLT-4422")
  }

  /// - Throws: `notFound` PLT-4422.
  public func folder(_ id: Int64) async throws -> GitFolder {
    guard let row = try await pool.query("\(Self.columns) WHERE folder_id = $1::bigint", [.int(Int(id))]).first else { throw Self.none(id) }
    return try Self.folder(row)
  }

  /// The one that a path is in.
  public func folder(holding path: WorkspacePath) async throws -> GitFolder? {
    try await pool.query("\(Self.columns) WHERE starts_with($1::text || '/', path || '/') LIMIT 1", [.text(path.description)]).first.map(Self.folder)
  }

  /// By path, behind `after`.
  public func folders(prefix: String, after: String, limit: Int) async throws -> [GitFolder] {
    try await pool.query(
      "\(Self.columns) WHERE starts_with(path, $1) AND path > $2 ORDER BY path LIMIT $3::int", [.text(prefix), .text(after), .int(limit)]
    ).map(Self.folder)
  }

  /// - Throws: `alreadyExists` PLT-4421 when the path is taken, `invalidArgument` PLT-4421 when it is in another git folder, or another is in it.
  public func requireFree(_ path: WorkspacePath) async throws { try await pool.transaction { try Self.requireFree(path, $0) } }

  private static func requireFree(_ path: WorkspacePath, _ transaction: PostgresTransaction) throws {
    let rows = try transaction.query(
      "SELECT path FROM git_folders WHERE starts_with($1::text || '/', path || '/') OR starts_with(path, $1::text || '/') ORDER BY path LIMIT 1",
      [.text(path.description)])
    guard let other = try rows.first?.string("path") else { return }
    guard other != path.description else {
      throw PlatformError(
        .alreadyExists, "there is a git folder at \(other) already", hint: "Choose another path, or update that one.", number: "PLT-4421")
    }
    throw PlatformError(
      .invalidArgument, "\(path) and the git folder \(other) would lie in each other", hint: "Choose a path beside it.", number: "PLT-4421")
  }

  /// - Parameter folder: without its number.
  /// - Throws: as `requireFree`.
  public func create(_ folder: GitFolder, by user: String) async throws -> GitFolder {
    let path = try WorkspacePath(folder.path)
    return try await pool.transaction { transaction in
      // Two that lie in each other do not come at once.
      try transaction.execute("LOCK TABLE git_folders IN SHARE ROW EXCLUSIVE MODE")
      try Self.requireFree(path, transaction)
      let rows = try transaction.query(
        """
        INSERT INTO git_folders (path, url, provider, branch, tag, head, place, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING folder_id
        """,
        [
          .text(path.description), .text(folder.url), .text(folder.provider), folder.branch.map { .text($0) } ?? .null,
          folder.tag.map { .text($0) } ?? .null, .text(folder.commit), .text(folder.place), .text(user),
        ])
      var made = folder
      made.id = Int64(try rows[0].int("folder_id"))
      return made
    }
  }

  /// Where it is now: another branch or tag, commit and place.
  /// - Parameter place: where it was when it was looked at.
  /// - Throws: `conflict` PLT-4425 when somebody else has changed it since.
  public func change(_ folder: GitFolder, from place: String) async throws {
    let changed = try await pool.execute(
      "UPDATE git_folders SET branch = $3, tag = $4, head = $5, place = $6, updated_at = now() WHERE folder_id = $1::bigint AND place = $2",
      [
        .int(Int(folder.id)), .text(place), folder.branch.map { .text($0) } ?? .null, folder.tag.map { .text($0) } ?? .null, .text(folder.commit),
        .text(folder.place),
      ])
    guard changed == 1 else {
      throw PlatformError(
        .conflict, "the git folder \(folder.path) was changed or deleted meanwhile", hint: "Look at it, then try again.", number: "PLT-4425")
    }
  }

  /// - Throws: `notFound` PLT-4422.
  public func delete(_ id: Int64) async throws -> GitFolder {
    let rows = try await pool.query(
      "DELETE FROM git_folders WHERE folder_id = $1::bigint RETURNING folder_id, path, url, provider, branch, tag, head, place", [.int(Int(id))])
    guard let row = rows.first else { throw Self.none(id) }
    return try Self.folder(row)
  }

  /// Places that are in use.
  public func places() async throws -> Set<String> { Set(try await pool.query("SELECT place FROM git_folders").map { try $0.string("place") }) }
}
