// SPDX-License-Identifier: Apache-2.0

public import Client
public import Core

/// Who makes a request.
public struct Principal: Sendable, Equatable {
  public var name: String
  /// Whether everything is allowed.
  public var isAdministrator: Bool
  public init(name: String, isAdministrator: Bool = false) {
    self.name = name
    self.isAdministrator = isAdministrator
  }
}

/// What the HTTP surface asks of the coordinator. Every method throws `PlatformError`; nothing here knows HTTP.
public protocol PlatformService: UnityCatalogService, StatementServing, RecordServing, JobsServing, NotificationServing, DeploymentServing, SecretServing,
  EventServing, GitFolderServing, IdentityServing, GitCredentialServing,
  ArtifactServing, AdapterServing
{
  /// - Throws: `unauthenticated` for an unknown, expired or revoked token.
  func authenticate(token: String) async throws -> Principal
  /// - Throws: with the reason when requests cannot be served now.
  func readiness() async throws
  func status() async throws -> StatusInfo
  /// The Prometheus text exposition of everything measured.
  func metricsText() async throws -> String

  func submit(_ request: SubmitFileRequest, by principal: Principal) async throws -> SubmitFileResponse
  func runs(limit: Int, before: String?, by principal: Principal) async throws -> RunList
  func run(_ runID: String, by principal: Principal) async throws -> RunInfo
  func cancelRun(_ runID: String, by principal: Principal) async throws -> RunInfo
  func logs(runID: String, taskKey: String?, attempt: Int?, after: Int64, limit: Int, by principal: Principal) async throws -> LogPage
  func metrics(runID: String, taskKey: String?, name: String?, by principal: Principal) async throws -> MetricPage

  func queryIndex(_ name: String, _ request: IndexQueryRequest, by principal: Principal) async throws -> IndexQueryResponse

  /// - Parameter load: with what each replica tells of itself.
  func endpoints(load: Bool) async throws -> EndpointList
  func endpoint(_ name: String) async throws -> EndpointInfo
  func scale(_ name: String, replicas: Int, by principal: Principal) async throws -> EndpointInfo
  /// - Throws: `notFound` PLT-4304.
  func removeEndpoint(_ name: String, by principal: Principal) async throws

  func nodes() async throws -> NodeList
  func setNode(_ name: String, _ change: NodeChange, by principal: Principal) async throws -> NodeInfo
  func createJoinToken(_ request: JoinTokenRequest, by principal: Principal) async throws -> JoinTokenResponse
  /// One snapshot for the console's first page.
  func dashboard() async throws -> JSONValue
}

/// What an operator wants of a node.
public enum NodeChange: String, Sendable, CaseIterable {
  /// Nothing new; what it has stays.
  case cordon
  /// Everything again.
  case uncordon
  /// Nothing new, replicas move elsewhere, what runs may finish.
  case drain
}

/// Several errors of one request, for a file that has several.
public struct PlatformErrors: Error, Sendable {
  public var errors: [PlatformError]
  public init(_ errors: [PlatformError]) { self.errors = errors }
}
