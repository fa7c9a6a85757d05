// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Scheduling
import Serving
import TestSupport
import Testing
import Transport

@testable import Coordinator

@Suite struct CoordinatorPartsTests {
  @Test func prometheusTextKeepsFamiliesTogetherAndEscapesLabels() {
    var text = PrometheusText()
    text.endpoint("a", EndpointCounters())
    text.endpoint("b\"\n", EndpointCounters())
    let lines = text.text.split(separator: "\n").map(String.init)
    var seen: [String] = []
    for line in lines where !line.hasPrefix("#") {
      let name = String(line.prefix { $0 != "{" && $0 != " " })
      if seen.last != name { #expect(!seen.contains(name) || name.hasSuffix("_bucket") || name.hasSuffix("_sum") || name.hasSuffix("_count"), "\(name)") }
      seen.append(name)
    }
    #expect(lines.filter { $0.hasPrefix("# TYPE platform_endpoint_requests_total") }.count == 1)
    #expect(text.text.contains(#"endpoint="b\"\n""#))
  }

  @Test func whatReplicasTellBecomesPrometheusText() {
    var frame = MetricFrame()
    frame.families = [.init("x:done_total", .counter, "Done.", [.init(["reason": "stop"], 3), .init(["reason": "length"], 0)])]
    frame.distributions = [.init("x:seconds", "Time.", bounds: [0.5, 1], counts: [2, 0, 1], sum: 4.25)]
    var text = PrometheusText()
    for engine in ["0", "1"] { text.replica(["model_name": "m", "engine": engine], frame) }
    let samples = { (engine: String) in
      [
        #"x:seconds_bucket{engine="\#(engine)",le="0.5",model_name="m"} 2"#, #"x:seconds_bucket{engine="\#(engine)",le="1.0",model_name="m"} 2"#,
        #"x:seconds_bucket{engine="\#(engine)",le="+Inf",model_name="m"} 3"#, #"x:seconds_sum{engine="\#(engine)",model_name="m"} 4.25"#,
        #"x:seconds_count{engine="\#(engine)",model_name="m"} 3"#,
      ]
    }
    let counters = { (engine: String) in
      [#"x:done_total{engine="\#(engine)",model_name="m",reason="stop"} 3"#, #"x:done_total{engine="\#(engine)",model_name="m",reason="length"} 0"#]
    }
    let expected =
      ["# HELP x:done_total Done.", "# TYPE x:done_total counter"] + counters("0") + counters("1")
      + ["# HELP x:seconds Time.", "# TYPE x:seconds histogram"] + samples("0") + samples("1")
    #expect(text.text.split(separator: "\n").map(String.init) == expected)
  }

  @Test func taskValuesAreFilledInAndMissingOnesAreNamed() throws {
    struct Body: Decodable {
      var model: String
      var list: [String]
    }
    var scheduler = Scheduler(now: 0)
    func call(_ body: JSONValue) -> StageCall? {
      let spec = RunSpec(id: "r\(body.sortedText.hashValue)", name: "n", tasks: [TaskSpec(key: "a", kind: "k", body: body)])
      for effect in scheduler.handle(.runSubmitted(spec), now: 1) { if case .planStage(let call) = effect { return call } }
      return nil
    }
    var one = try #require(call(["model": "models:/{{ tasks.train.values.uri }}/x", "list": ["{{tasks.train.values.n}}"]]))
    one.values = ["train": ["uri": "m", "n": 7]]
    let body: Body = try one.body()
    #expect(body.model == "models:/m/x" && body.list == ["7"])
    one.values = [:]
    #expect(throws: PlatformError.self) { let _: Body = try one.body() }
  }

  @Test func privateFilesAreWholeAndPrivate() throws {
    let folder = TemporaryDirectory("layout")
    let layout = DataLayout(root: folder.file("data"))
    try layout.create()
    try layout.writePrivate(Data("x".utf8), to: layout.adminTokenFile)
    #expect(layout.loadAdminToken() == "x")
    #expect(try FileManager.default.attributesOfItem(atPath: layout.adminTokenFile)[.posixPermissions] as? Int == 0o600)
    try Data("{torn".utf8).write(to: URL(fileURLWithPath: layout.stateFile))
    #expect(layout.loadState() == nil)
    #expect(throws: PlatformError.self) { try DataLayout(root: "/proc/nothing").create() }
  }

  @Test func addressesAreChecked() throws {
    #expect(try CoordinatorProcess.nextPort("127.0.0.1:7400") == "127.0.0.1:7401")
    #expect(throws: PlatformError.self) { try CoordinatorProcess.nextPort("127.0.0.1") }
    #expect(throws: PlatformError.self) { try CoordinatorProcess.nextPort("127.0.0.1:65535") }
  }

  @Test func numbersAreGrouped() {
    #expect(grouped(1_234_567) == "1\u{202F}234\u{202F}567")
    #expect(grouped(12) == "12")
  }
}
