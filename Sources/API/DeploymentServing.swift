// SPDX-License-Identifier: Apache-2.0

public import Client

/// Deployments of projects.
public protocol DeploymentServing: Sendable {
  func deployment(_ rootPath: String, by principal: Principal) async throws -> DeploymentInfo
  func deployments() async throws -> DeploymentList
  /// - Throws: `conflict` PLT-4272 when somebody has deployed since it was planned.
  func beginDeployment(_ request: DeploymentBegin, by principal: Principal) async throws -> DeploymentVersion
  /// Makes or changes a job, or notes an object of the catalog.
  /// - Throws: `conflict` PLT-4272 when another deployment has begun.
  func putResource(_ change: DeploymentChange, by principal: Principal) async throws -> DeploymentResource
  /// Deletes a job, or forgets an object of the catalog.
  /// - Throws: as `putResource`.
  func removeResource(_ change: DeploymentChange, by principal: Principal) async throws
  func endDeployment(_ request: DeploymentEnd, by principal: Principal) async throws
}
