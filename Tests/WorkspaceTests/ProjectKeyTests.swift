// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@testable import Workspace

@Suite struct ProjectKeyTests {
  @Test func everyKeyHasAPlaceInTheSchema() throws {
    let schema = ProjectSchema.document
    #expect(schema["properties"]?["targets"] != nil && schema["$defs"]?["task"]?["properties"]?["sql_task"] != nil)
    #expect(schema["properties"]?["environments"]?["not"] != nil && schema["properties"]?["sync"]?["deprecated"] == true)
    // What editors complete is what is read.
    let jobs = schema["properties"]?["resources"]?["anyOf"]?.arrayValue?[0]["properties"]?["jobs"]?["anyOf"]?.arrayValue?[0]
    let job = try #require(jobs?["additionalProperties"]?["anyOf"]?.arrayValue?[0]["properties"]?.objectValue)
    #expect(Set(["tasks", "schedule", "parameters", "targets", "queue"]).isSubset(of: job.keys))
  }

  @Test func everyOwnKeyIsExplained() {
    func check(_ keys: [ProjectKey], _ place: String) {
      for key in keys { #expect(!key.summary.isEmpty, "\(place).\(key.name)") }
    }
    for (keys, place) in [(ProjectKeys.top, ""), (ProjectKeys.resources, "resources"), (ProjectKeys.target, "targets"), (ProjectKeys.variable, "variables")] {
      check(keys, place)
      for key in keys where key.name != "jobs" { check(key.inside, "\(place).\(key.name)") }
    }
  }

  @Test func aKeyIsFoundByItsPath() throws {
    let deep = try KeyExplanation.of("job.tasks.train_task.compute.tensor_parallel")
    #expect(deep.path == "resources.jobs.*.tasks.train_task.compute.tensor_parallel" && deep.type.hasPrefix("whole number") && deep.isOwn == false)
    #expect(try KeyExplanation.of("resources.jobs.refresh.tasks[2].max_retries").path == "resources.jobs.*.tasks.max_retries")
    #expect(try KeyExplanation.of("sql_task.file").keys == ["path", "source"])
    #expect(try KeyExplanation.of("targets.prod.mode").example == "mode: development")
    #expect(try KeyExplanation.of("environments").treatment == "refused" && KeyExplanation.of("run_as").treatment == "ignored")
    #expect(throws: PlatformError.self) { try KeyExplanation.of("job.tasks.max_retires") }
    do {
      _ = try KeyExplanation.of("max_retires")
    } catch { #expect(error.hint == "Did you mean 'max_retries'?" && error.number == "PLT-4280") }
  }

  /// The page's lists are those of the code, but for jobs and tasks, whose keys have pages of their own.
  @Test func thePublishedListsAreTrue() throws {
    let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../docs/projects.md").standardizedFileURL
    let text = try String(contentsOf: page, encoding: .utf8)
    let table = KeyLists.markdown(KeyLists.all.filter { !$0.place.hasPrefix("resources.jobs") })
    #expect(text.contains(table), "docs/projects.md has another table than this:\n\(table)")
  }
}
