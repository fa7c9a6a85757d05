// SPDX-License-Identifier: Apache-2.0

public import Core
public import Scheduling
import Yams

/// Bridges until the checked parser lands.
public struct ParsedWorkflow: Sendable {
  public var run: RunSpec?
  public var warnings: [String] = []
  public var errors: [PlatformError] = []
}
public enum WorkflowFile {
  public static func parse(
    text: String, path: String, job: String?, parameters: [String: String], attachments: [String: String]
  ) -> ParsedWorkflow {
    var text = text
    for (k, v) in parameters.merging(["limit": "5000000", "steps": "600"], uniquingKeysWith: { a, _ in a }) { text = text.replacing("${var.\(k)}", with: v) }
    func json(_ any: Any) -> JSONValue {
      switch any {
      case let v as Bool: .bool(v)
      case let v as Int: .integer(Int64(v))
      case let v as Double: .number(v)
      case let v as String: Int64(v).map { .integer($0) } ?? .string(v)
      case let v as [Any]: .array(v.map(json))
      case let v as [String: Any]: .object(v.mapValues(json))
      default: .null
      }
    }
    do {
      let doc = json(try Yams.load(yaml: text) ?? [:])
      guard let jobs = doc["resources"]?["jobs"]?.objectValue, let first = jobs.first?.value else { throw PlatformError(.invalidFile, "no jobs") }
      let tasks = (first["tasks"]?.arrayValue ?? []).map { t -> TaskSpec in
        let kv = t.objectValue!.first { $0.key.hasSuffix("_task") }!
        return TaskSpec(
          key: t["task_key"]?.stringValue ?? "", kind: String(kv.key.dropLast(5)),
          dependsOn: (t["depends_on"]?.arrayValue ?? []).compactMap { $0["task_key"]?.stringValue },
          maxRetries: t["max_retries"]?.intValue ?? 0, timeoutMs: (t["timeout_seconds"]?.intValue).map { Int64($0) * 1000 }, body: kv.value)
      }
      return ParsedWorkflow(run: RunSpec(id: "", name: first["name"]?.stringValue ?? "job", tasks: tasks))
    } catch {
      return ParsedWorkflow(run: nil, errors: [PlatformError.from(error)])
    }
  }
}
