// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Jobs
@testable import Scheduling

/// `dbt_task` as it is read.
@Suite struct DbtTaskTests {
  @Test func commandsBecomeWordsAsAShellReadsThem() {
    #expect(CommandWords.split("dbt run  --select a+ ") == ["dbt", "run", "--select", "a+"])
    #expect(CommandWords.split(#"dbt run --vars '{"n": "a b"}' x"y z"\ w ''"#) == ["dbt", "run", "--vars", #"{"n": "a b"}"#, "xy z w", ""])
    #expect(CommandWords.split(#""a\"b\\c\d""#) == [#"a"b\c\d"#])
    #expect(CommandWords.split("$(id) `id` ; | > *") == ["$(id)", "`id`", ";", "|", ">", "*"])
    #expect(CommandWords.split("dbt 'run") == nil && CommandWords.split("") == [])
  }

  @Test func whatAReferenceStandsForStaysOneWord() throws {
    let settings = try JSONValue(
      parsing: #"""
        { "parameters": [ { "name": "day", "default": "x" } ], "tasks": [ { "task_key": "a", "dbt_task": {
          "commands": [ "dbt run --vars {{job.parameters.day}}" ], "project_directory": "/Volumes/m/d/v/shop" } } ] }
        """#)
    let folder = "folder:/Volumes/m/d/v/shop"
    let stored = JobSettings.check(settings)
    #expect(stored.errors == [] && stored.missingFiles == [folder])
    let run = JobSettings.run(settings, parameters: ["day": "'; rm -rf / 'a b"], attachments: [folder: #"{"texts": {"a.sql": "{{ ref('b') }}"}}"#])
    #expect(run.errors == [], "\(run.errors)")
    let body = try #require(run.run?.tasks.first?.body)
    #expect(run.run?.tasks.first?.kind == "dbt")
    #expect(body["commands"] == [["dbt", "run", "--vars", "'; rm -rf / 'a b"]], "\(body)")
    #expect(body["project"]?.stringValue?.contains("ref") == true)
  }
}
