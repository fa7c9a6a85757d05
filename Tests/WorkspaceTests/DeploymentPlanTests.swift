// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Workspace

/// What is to be done, for everything that may be there.
@Suite struct DeploymentPlanTests {
  private static let text = """
    bundle: { name: p }
    resources:
      schemas: { s: { catalog_name: main, name: s, comment: new } }
      volumes: { v: { catalog_name: main, schema_name: s, name: v } }
      jobs:
        j: { tasks: [ { task_key: a, spark_python_task: { python_file: a.py }, max_retries: 1 } ] }
        k: { tasks: [ { task_key: a, run_job_task: { job_id: "${resources.jobs.j.id}" } } ] }
    """

  private func project() throws -> Project { try ProjectTests.project(Self.text, ["a.py": "print(1)"]) }
  private func plan(_ state: DeploymentState) throws -> DeploymentPlan { DeploymentPlan(try project(), state) { "sha of \($0)" } }
  private func actions(_ plan: DeploymentPlan) -> [String] { plan.steps.map { "\($0.action.rawValue) \($0.key)" } }

  /// Everything as it is after a deployment.
  private func deployed() throws -> DeploymentState {
    var state = DeploymentState()
    let project = try project()
    for resource in project.resources {
      if resource.kind == .jobs {
        let id: Int64 = resource.key == "j" ? 7 : 8
        let job = DeploymentState.Job(
          settings: resource.definition(ids: ["resources.jobs.j.id": 7]), files: resource.attachments.mapValues { "sha of \($0)" })
        state.resources.append(DeploymentState.Resource(kind: .jobs, key: resource.key, id: String(id), job: job))
      } else {
        state.resources.append(DeploymentState.Resource(kind: resource.kind, key: resource.key, id: resource.name, notedAt: 100))
        state.objects[DeploymentState.name(resource.kind, resource.name)] = DeploymentState.Object(facts: resource.definition, createdAt: 100)
      }
    }
    return state
  }

  @Test func whatIsNotThereIsMadeAndWhatIsAsItShouldBeStays() throws {
    #expect(actions(try plan(DeploymentState())) == ["create s", "create v", "create j", "create k"])
    let again = try plan(try deployed())
    #expect(!again.changesAnything && again.errors.isEmpty && again.count(.unchanged) == 4)
  }

  @Test func whatDiffersIsChangedAndTold() throws {
    var state = try deployed()
    state.objects["schemas main.s"]?.facts = ["comment": "old", "owner": "x"]
    let first = try #require(state.resources.firstIndex { $0.key == "j" })
    state.resources[first].job?.files = ["a.py": "sha of something else", "b.py": "sha"]
    let settings = try #require(state.resources[first].job?.settings.sortedText)
    state.resources[first].job?.settings = try JSONValue(parsing: settings.replacing("\"max_retries\":1", with: "\"max_retries\":1.0,\"timeout_seconds\":5"))
    let plan = try plan(state)
    #expect(actions(plan) == ["update s", "unchanged v", "update j", "unchanged k"])
    #expect(plan.steps[0].changes == [FieldChange(field: "comment", old: "old", new: "new")])
    #expect(plan.steps[2].changes.map(\.field) == ["tasks[a].timeout_seconds", "a.py", "b.py"])
  }

  @Test func whatTheProjectDoesNotHaveAnyMoreGoesLast() throws {
    var state = try deployed()
    state.resources.append(DeploymentState.Resource(kind: .schemas, key: "old", id: "main.old"))
    state.resources.append(DeploymentState.Resource(kind: .volumes, key: "oldv", id: "main.old.v"))
    state.resources.append(DeploymentState.Resource(kind: .jobs, key: "oldj", id: "9", job: DeploymentState.Job(settings: ["name": "J"], files: [:])))
    let plan = try plan(state)
    #expect(actions(plan).suffix(3) == ["delete oldj", "delete oldv", "delete old"])
    #expect(plan.removals.map(\.deletesData) == [false, true, true] && plan.removals[0].name == "J")
    #expect(actions(DeploymentPlan(removing: state)).first == "delete oldj" && DeploymentPlan(removing: state).steps.count == 7)
  }

  @Test func whatWasDeletedMeanwhileIsMadeAgain() throws {
    var state = try deployed()
    state.objects["volumes main.s.v"] = nil
    let job = try #require(state.resources.firstIndex { $0.key == "j" })
    state.resources[job].job = nil
    let plan = try plan(state)
    #expect(actions(plan) == ["unchanged s", "create v", "create j", "update k"])
    #expect(plan.steps[1].reason == "it was dropped" && plan.steps[2].reason == "it was deleted")
  }

  /// A deployment that was cut short notes what it is about to make: what is younger than the note is its own.
  @Test func whatAnInterruptedDeploymentHasMadeIsItsOwn() throws {
    var state = DeploymentState()
    state.resources = [DeploymentState.Resource(kind: .schemas, key: "s", id: "main.s", isPending: true, notedAt: 100)]
    #expect(actions(try plan(state)).first == "create s")
    state.objects["schemas main.s"] = DeploymentState.Object(facts: ["comment": "new"], createdAt: 100)
    let own = try plan(state)
    #expect(actions(own).first == "update s" && own.steps[0].isThere && own.errors.isEmpty)
    state.objects["schemas main.s"] = DeploymentState.Object(facts: ["comment": "new"], createdAt: 99)
    #expect(try plan(state).errors.map(\.number) == ["PLT-4277"])
  }

  @Test func whatOthersHaveMadeIsNotTaken() throws {
    var state = DeploymentState()
    state.objects["schemas main.s"] = DeploymentState.Object(facts: [:], createdAt: 1)
    let plan = try plan(state)
    #expect(plan.errors.map(\.number) == ["PLT-4277"] && plan.errors[0].hint.contains("--adopt s"))
  }

  @Test func anotherNameIsAnotherObject() throws {
    var state = try deployed()
    state.resources[0].id = "main.before"
    state.objects["schemas main.before"] = state.objects.removeValue(forKey: "schemas main.s")
    state.objects["volumes main.s.v"]?.facts = ["volume_type": "EXTERNAL"]
    let plan = try plan(state)
    #expect(actions(plan).prefix(2) == ["recreate s", "recreate v"] && plan.steps[0].deletesData)
    #expect(plan.steps[0].reason == "its name was main.before" && plan.steps[1].reason == "volume_type cannot be changed")
  }

  @Test func whatExistsMayBeTakenOver() throws {
    var state = DeploymentState()
    state.objects["schemas main.s"] = DeploymentState.Object(facts: ["comment": "new"], createdAt: 1)
    let plan = DeploymentPlan(try project(), state, adopting: ["s": "", "j": "12"]) { $0 }
    #expect(actions(plan) == ["update s", "create v", "update j", "create k"] && plan.steps[0].isThere && plan.steps[2].id == "12")
  }

  @Test func anotherKeyIsTheSameObject() throws {
    var state = try deployed()
    let schema = try #require(state.resources.firstIndex { $0.key == "s" })
    state.resources[schema].key = "before"
    let plan = try plan(state)
    #expect(actions(plan) == ["update s", "unchanged v", "unchanged j", "unchanged k"] && plan.steps[0].formerKey == "before")
  }

  @Test func differencesHaveThePlacesOfTheirFields() {
    let old: JSONValue = ["a": [["task_key": "x", "n": 1], ["task_key": "y"]], "b": [1, 2], "c": nil]
    let new: JSONValue = ["a": [["task_key": "y", "m": 2], ["task_key": "x", "n": 1.0]], "b": [1, 3]]
    #expect(FieldChange.all(from: old, to: new).map(\.field) == ["a[y].m", "b[1]"])
    #expect(FieldChange.all(from: ["a": [["name": "x"], ["name": "y"]]], to: ["a": [["name": "y"], ["name": "x"]]]).map(\.field) == ["a"])
    #expect(FieldChange.all(from: ["a": []], to: ["a": [1]]).map(\.field) == ["a"])
  }
}
