// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling

extension WorkflowChecker {
  /// `resources: { cpus: 4, memory: 8GB }` and `node_labels: { disk: ssd }` of a task.
  mutating func demand(_ tree: YAMLTree, _ key: String, _ place: String, into spec: inout TaskSpec) {
    var demand = spec.demand ?? Demand()
    if key == "node_labels" {
      guard let labels = value(tree, .mapping, place)?.objectValue, !labels.isEmpty else { return }
      demand.labels = labels.compactMapValues(\.stringValue)
    } else {
      guard let body = object(tree, [.optional("cpus", .number(0.001...65_536)), .optional("memory", .bytes)], place) else { return }
      demand.cpus = body["cpus"]?.doubleValue
      demand.memoryBytes = body["memory"]?.intValue.map(Int64.init)
    }
    if demand != Demand() { spec.demand = demand }
  }
}
