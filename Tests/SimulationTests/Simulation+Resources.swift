// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling

/// Work that asks for room. What it asks for is bounded so that everything fits beside the replicas of all services, wherever those
/// are: then every run has to end.
extension Simulation {
  static let cpus = 6.0
  static let memory: Int64 = 12

  func labels(of worker: String) -> [String: String] {
    guard demands != nil else { return [:] }
    return ["zone": worker < "w2" ? "a" : "b", "disk": worker == "w1" || worker == "w2" ? "ssd" : "hdd"]
  }

  mutating func demand(of shape: String) -> Demand? {
    guard demands != nil, demands!.nextUnit() < 0.6 else { return nil }
    func pick<T>(_ choices: [T], _ number: UInt64) -> T { choices[Int(number % UInt64(choices.count))] }
    let (cpus, memory, ssd) = (demands!.next(), demands!.next(), demands!.nextUnit() < 0.4)
    let labels = ssd ? ["disk": "ssd"] : nil
    switch shape {
    case "shards": return Demand(cpus: pick([nil, 0.5, 1, 2], cpus), memoryBytes: pick([nil, 1, 4, 8], memory), labels: labels)
    case "gang": return Demand(cpus: pick([0.5, 1], cpus), memoryBytes: pick([nil, 1, 2], memory), labels: labels)
    case "service": return Demand(cpus: pick([nil, 0.25, 0.5], cpus), memoryBytes: pick([nil, 0], memory), labels: labels)
    default: return nil
    }
  }
}
