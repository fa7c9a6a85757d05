// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation
public import Postgres

/// Which resource of a project is which job or object of the catalog. It is kept with the jobs: a job is made and noted in one transaction, so that
/// whoever dies while deploying leaves nothing that the next deployment does not find.
public struct DeploymentStore: Sendable {
  public struct Deployment: Sendable {
    public var rootPath: String
    public var bundle: String
    public var target: String
    public var version: Int64
    public var isComplete: Bool
    public var deployedBy: String
    public var deployedAt: Date
  }

  public struct Resource: Sendable {
    public var kind: String
    public var key: String
    public var id: String
    public var isPending: Bool
    public var notedAt: Date
    /// The job's settings and files as they are now.
    public var job: (settings: JSONValue, attachments: [String: String])?
  }

  /// The kind whose resources are rows of `jobs`.
  public static let jobs = "jobs"

  let pool: PostgresPool
  public init(pool: PostgresPool) { self.pool = pool }

  public static let migrations = [
    Migration(
      component: "deployments", number: 1, name: "deployments of projects",
      sql: """
        CREATE SEQUENCE deployment_versions;
        CREATE TABLE deployments (
          root_path text PRIMARY KEY,
          bundle text NOT NULL,
          target text NOT NULL,
          version bigint NOT NULL,
          complete boolean NOT NULL,
          deployed_by text NOT NULL,
          deployed_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE TABLE deployment_resources (
          root_path text NOT NULL REFERENCES deployments ON DELETE CASCADE,
          kind text NOT NULL,
          key text NOT NULL,
          id text NOT NULL,
          pending boolean NOT NULL,
          noted_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (root_path, kind, key)
        );
        """)
  ]

  // MARK: Reading

  private static let columns = "SELECT root_path, bundle, target, version, complete, deployed_by, deployed_at FROM deployments"

  private static func deployment(_ row: PostgresRow) throws -> Deployment {
    Deployment(
      rootPath: try row.string("root_path"), bundle: try row.string("bundle"), target: try row.string("target"), version: Int64(try row.int("version")),
      isComplete: try row.get("complete", as: Bool.self), deployedBy: try row.string("deployed_by"), deployedAt: try row.date("deployed_at"))
  }

  /// Both as of one moment; nil when nothing was deployed there.
  public func deployment(_ rootPath: String) async throws -> (Deployment, [Resource])? {
    try await pool.transaction { transaction in
      guard let row = try transaction.query("\(Self.columns) WHERE root_path = $1 FOR SHARE", [.text(rootPath)]).first else { return nil }
      let rows = try transaction.query(
        """
        SELECT r.kind, r.key, r.id, r.pending, r.noted_at, j.settings, j.attachments
        FROM deployment_resources r LEFT JOIN jobs j ON r.kind = $2 AND j.job_id::text = r.id
        WHERE r.root_path = $1 ORDER BY r.kind, r.key
        """, [.text(rootPath), .text(Self.jobs)])
      return (
        try Self.deployment(row),
        try rows.map { row in
          var resource = Resource(
            kind: try row.string("kind"), key: try row.string("key"), id: try row.string("id"), isPending: try row.get("pending", as: Bool.self),
            notedAt: try row.date("noted_at"))
          if let settings = try row.get("settings", as: JSONValue?.self) {
            resource.job = (settings, (try row.json("attachments").objectValue ?? [:]).compactMapValues(\.stringValue))
          }
          return resource
        }
      )
    }
  }

  public func deployments() async throws -> [Deployment] { try await pool.query("\(Self.columns) ORDER BY root_path").map(Self.deployment) }

  // MARK: Deploying

  private static func overtaken(_ rootPath: String) -> PlatformError {
    PlatformError(
      .conflict, "another deployment to \(rootPath) has begun meanwhile", hint: "Look at what it has done with 'platform plan', then deploy again.",
      number: "PLT-4272")
  }

  /// - Parameter planned: the version that was planned with; 0: there was none.
  /// - Returns: the version that every change has to name.
  /// - Throws: `conflict` PLT-4272 when there is another one by now.
  public func begin(_ rootPath: String, bundle: String, target: String, planned: Int64, by user: String) async throws -> Int64 {
    let rows = try await pool.query(
      """
      INSERT INTO deployments AS d (root_path, bundle, target, version, complete, deployed_by)
        SELECT $1, $2, $3, nextval('deployment_versions'), false, $5 WHERE $4::bigint = 0 OR EXISTS (SELECT 1 FROM deployments WHERE root_path = $1)
      ON CONFLICT (root_path) DO UPDATE SET bundle = $2, target = $3, version = nextval('deployment_versions'), complete = false, deployed_by = $5, deployed_at = now()
        WHERE d.version = $4::bigint
      RETURNING version
      """, [.text(rootPath), .text(bundle), .text(target), .int(Int(planned)), .text(user)])
    guard let row = rows.first else { throw Self.overtaken(rootPath) }
    return Int64(try row.int("version"))
  }

  /// Keeps others from beginning until the transaction ends.
  private static func hold(_ rootPath: String, _ version: Int64, _ transaction: PostgresTransaction) throws {
    let rows = try transaction.query("SELECT version FROM deployments WHERE root_path = $1 FOR UPDATE", [.text(rootPath)])
    guard let row = rows.first, Int64(try row.int("version")) == version else { throw overtaken(rootPath) }
  }

  private static func note(_ rootPath: String, _ kind: String, _ key: String, id: String, isPending: Bool, _ transaction: PostgresTransaction) throws {
    // The time of the first note counts: what is younger may have been made by it.
    try transaction.execute(
      """
      INSERT INTO deployment_resources AS r (root_path, kind, key, id, pending) VALUES ($1, $2, $3, $4, $5::boolean)
      ON CONFLICT (root_path, kind, key) DO UPDATE SET
        noted_at = CASE WHEN r.id = $4 AND r.pending THEN r.noted_at ELSE now() END, id = $4, pending = $5::boolean
      """, [.text(rootPath), .text(kind), .text(key), .text(id), .bool(isPending)])
  }

  /// Notes an object of the catalog.
  public func note(_ rootPath: String, version: Int64, kind: String, key: String, id: String, isPending: Bool) async throws {
    try await pool.transaction { transaction in
      try Self.hold(rootPath, version, transaction)
      try Self.note(rootPath, kind, key, id: id, isPending: isPending, transaction)
    }
  }

  /// The resource's job gets the settings; it is made when there is none. Settings have been checked before.
  /// - Parameter adopting: a job that exists and becomes the resource's.
  /// - Returns: the job's number.
  /// - Throws: `notFound` PLT-4200 for a job to adopt that is not there; `conflict` PLT-4277 when it is another deployment's.
  public func putJob(
    _ rootPath: String, version: Int64, key: String, settings: JSONValue, attachments: [String: String], adopting: Int64?, by user: String,
    rights: JobRights.Change? = nil
  ) async throws -> Int64 {
    try await pool.transaction { transaction in
      try Self.hold(rootPath, version, transaction)
      let name = JobStore.name(settings)
      let texts = JSONValue.object(attachments.mapValues { .string($0) })
      let known = try transaction.query(
        "SELECT id FROM deployment_resources WHERE root_path = $1 AND kind = $2 AND key = $3", [.text(rootPath), .text(Self.jobs), .text(key)]
      ).first.flatMap { Int64(try $0.string("id")) }
      if let adopting {
        let owner = try transaction.query(
          "SELECT root_path, key FROM deployment_resources WHERE kind = $1 AND id = $2", [.text(Self.jobs), .text(String(adopting))]
        ).first
        if let owner, try owner.string("root_path") != rootPath || owner.string("key") != key {
          throw PlatformError(
            .conflict, "job \(adopting) belongs to '\(try owner.string("key"))' of the deployment \(try owner.string("root_path"))",
            hint: "A job is of one deployment.", number: "PLT-4277")
        }
      }
      if let id = adopting ?? known {
        let changed = try transaction.execute(
          "UPDATE jobs SET name = $2, settings = $3::jsonb, attachments = $4::jsonb, updated_at = now() WHERE job_id = $1::bigint",
          [.int(Int(id)), .text(name), .encoding(settings), .encoding(texts)])
        if changed == 1 {
          try Self.note(rootPath, Self.jobs, key, id: String(id), isPending: false, transaction)
          if let rights { try JobStore.changeRights(ofJob: id, transaction, rights) }
          return id
        }
        if adopting != nil { throw JobStore.noJob(id) }
      }
      let rows = try transaction.query(
        "INSERT INTO jobs (name, settings, attachments, creator) VALUES ($1, $2::jsonb, $3::jsonb, $4) RETURNING job_id",
        [.text(name), .encoding(settings), .encoding(texts), .text(user)])
      let id = Int64(try rows[0].int("job_id"))
      try Self.note(rootPath, Self.jobs, key, id: String(id), isPending: false, transaction)
      if let rights { try JobStore.changeRights(ofJob: id, transaction, rights) }
      return id
    }
  }

  /// Forgets a resource; a job is deleted too, its runs stay.
  public func remove(_ rootPath: String, version: Int64, kind: String, key: String) async throws {
    try await pool.transaction { transaction in
      try Self.hold(rootPath, version, transaction)
      let rows = try transaction.query(
        "DELETE FROM deployment_resources WHERE root_path = $1 AND kind = $2 AND key = $3 RETURNING id", [.text(rootPath), .text(kind), .text(key)])
      if kind == Self.jobs, let row = rows.first {
        try transaction.execute("DELETE FROM jobs WHERE job_id::text = $1", [.text(try row.string("id"))])
      }
    }
  }

  /// The deployment is complete; one that has nothing left is forgotten.
  public func end(_ rootPath: String, version: Int64) async throws {
    try await pool.transaction { transaction in
      try Self.hold(rootPath, version, transaction)
      try transaction.execute("UPDATE deployments SET complete = true WHERE root_path = $1", [.text(rootPath)])
      try transaction.execute(
        "DELETE FROM deployments WHERE root_path = $1 AND NOT EXISTS (SELECT 1 FROM deployment_resources WHERE root_path = $1)", [.text(rootPath)])
    }
  }
}
