// SPDX-License-Identifier: Apache-2.0

public import Core
import HTTPTypes
import Hummingbird
import NIOCore

/// Files that programs of runs have left.
public protocol ArtifactServing: Sendable {
  /// - Parameters:
  ///   - taskKey: nil: of all tasks.
  ///   - attempt: nil: of all attempts.
  func artifacts(runID: String, taskKey: String?, attempt: Int?, by principal: Principal) async throws -> JSONValue
  /// Where one lies on this machine.
  func artifact(runID: String, taskKey: String, attempt: Int, path: String, by principal: Principal) async throws -> String
}

/// `/api/2.2/jobs/runs/artifacts`: ours, Databricks has nothing of the kind.
struct ArtifactRoutes {
  let service: any PlatformService
  private static let chunk = 256 << 10

  func add(to router: Router<PlatformRequestContext>) {
    let service = self.service
    let group = router.group("/api/2.2/jobs/runs/artifacts")
    group.get { request, context in
      let attempt = try request.query("attempt") == nil ? nil : request.queryInt("attempt", in: 1...Int.max, default: 1)
      return try Response.json(
        await service.artifacts(
          runID: request.requiredQuery("run_id"), taskKey: request.query("task_key"), attempt: attempt, by: context.principal))
    }
    group.get("/content") { request, context in
      let path = try await service.artifact(
        runID: request.requiredQuery("run_id"), taskKey: request.requiredQuery("task_key"),
        attempt: request.queryInt("attempt", in: 1...Int.max, default: 1), path: request.requiredQuery("path"), by: context.principal)
      let file = try await BlockingPool.shared.run { try VolumeFile(reading: path) }
      let body = ResponseBody(contentLength: Int(file.size)) { writer in
        var at: Int64 = 0
        while at < file.size {
          let (position, count) = (at, Int(min(Int64(Self.chunk), file.size - at)))
          let bytes = try await BlockingPool.shared.run { try file.read(at: position, count) }
          try await writer.write(ByteBuffer(bytes: bytes))
          at += Int64(bytes.count)
        }
        try await writer.finish(nil)
      }
      return Response(status: .ok, headers: [.contentType: "application/octet-stream"], body: body)
    }
  }
}
