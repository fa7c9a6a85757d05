// SPDX-License-Identifier: Apache-2.0

public import Client
public import Core

/// What `jobs/list` asks for.
public struct JobListRequest: Sendable {
  public var name: String?
  public var expandsTasks: Bool
  public var limit: Int
  public var offset: Int
  public var pageToken: String?
}

/// What `jobs/runs/list` asks for.
public struct RunListRequest: Sendable {
  public var job: Int64?
  /// True: only active ones; false: only completed ones.
  public var isActive: Bool?
  public var expandsTasks: Bool
  public var type: String?
  /// Milliseconds since 1970.
  public var from: Int64?
  public var to: Int64?
  public var limit: Int
  public var offset: Int
  public var pageToken: String?
}

/// Stored jobs and their runs, in the shapes of Databricks' Jobs API: settings and answers are JSON, because most of their many fields
/// only pass through.
public protocol JobsServing: Sendable {
  func createJob(_ settings: JSONValue, by principal: Principal) async throws -> JSONValue
  /// A job of a workflow file; `job` replaces the settings of one that exists.
  func createJob(file request: SubmitFileRequest, replacing job: Int64?, by principal: Principal) async throws -> JSONValue
  func job(_ id: Int64, by principal: Principal) async throws -> JSONValue
  func jobs(_ request: JobListRequest, by principal: Principal) async throws -> JSONValue
  func updateJob(_ id: Int64, _ settings: JSONValue, removing: [String], by principal: Principal) async throws
  func resetJob(_ id: Int64, _ settings: JSONValue, by principal: Principal) async throws
  func deleteJob(_ id: Int64, by principal: Principal) async throws

  func runJob(_ request: JSONValue, by principal: Principal) async throws -> JSONValue
  func submitRun(_ request: JSONValue, by principal: Principal) async throws -> JSONValue
  func jobRun(_ id: Int64, includesHistory: Bool, by principal: Principal) async throws -> JSONValue
  func jobRuns(_ request: RunListRequest, by principal: Principal) async throws -> JSONValue
  func cancelJobRun(_ id: Int64, by principal: Principal) async throws
  func cancelAllRuns(job: Int64?, onlyQueued: Bool, by principal: Principal) async throws
  func repairRun(_ request: JSONValue, by principal: Principal) async throws -> JSONValue
  func runOutput(_ id: Int64, by principal: Principal) async throws -> JSONValue
  func exportRun(_ id: Int64, by principal: Principal) async throws -> JSONValue
  func deleteRun(_ id: Int64, by principal: Principal) async throws

  /// Who may do what with a job, as answers of `/api/2.0/permissions` have it.
  func jobPermissions(_ id: Int64, by principal: Principal) async throws -> JSONValue
  /// - Parameters:
  ///   - list: an `access_control_list`.
  ///   - replaces: whether what it does not name goes.
  func setJobPermissions(_ id: Int64, _ list: JSONValue, replaces: Bool, by principal: Principal) async throws -> JSONValue
  /// The rights that there are: `permission_levels`.
  func jobPermissionLevels() -> JSONValue
}
