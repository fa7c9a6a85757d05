// SPDX-License-Identifier: Apache-2.0

import Jobs
import Serving
import Transport

/// Builds the Prometheus text format, version 0.0.4.
struct PrometheusText {
  /// Header and samples of each family, in order of declaration: the format wants a family's samples together.
  private var families: [(name: String, lines: String)] = []

  var text: String { families.map(\.lines).joined() }

  mutating func family(_ name: String, _ type: String, _ help: String) {
    guard !families.contains(where: { $0.name == name }) else { return }
    families.append((name, "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"))
  }

  mutating func sample(_ name: String, _ labels: [String: String], _ value: Double) {
    let rendered = labels.sorted { $0.key < $1.key }.map { "\($0.key)=\"\(Self.escape($0.value))\"" }.joined(separator: ",")
    // A histogram's samples carry the family's name with a suffix.
    guard let index = families.firstIndex(where: { $0.name == name }) ?? families.lastIndex(where: { name.hasPrefix($0.name + "_") })
    else { return }
    families[index].lines += rendered.isEmpty ? name : "\(name){\(rendered)}"
    families[index].lines += " \(value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value))\n"
  }

  private static func escape(_ label: String) -> String {
    label.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
  }

  mutating func endpoint(_ name: String, _ counters: EndpointCounters) {
    let labels = ["endpoint": name]
    family("platform_endpoint_requests_total", "counter", "Requests, failed ones included.")
    sample("platform_endpoint_requests_total", labels, Double(counters.requests))
    family("platform_endpoint_errors_total", "counter", "Requests that ended with a status of 400 or above.")
    sample("platform_endpoint_errors_total", labels, Double(counters.errors))
    family("platform_endpoint_moved_total", "counter", "Requests that needed more than one replica.")
    sample("platform_endpoint_moved_total", labels, Double(counters.moved))
    family("platform_endpoint_tokens_total", "counter", "Tokens read and written.")
    sample("platform_endpoint_tokens_total", labels.merging(["kind": "prompt"]) { $1 }, Double(counters.promptTokens))
    sample("platform_endpoint_tokens_total", labels.merging(["kind": "completion"]) { $1 }, Double(counters.completionTokens))
    histogram(
      "platform_endpoint_latency_seconds", "Time to the whole answer.", labels, EndpointCounters.bounds, counters.latencyBuckets,
      counters.latencySeconds)
    histogram(
      "platform_endpoint_first_token_seconds", "Time to the first token.", labels, EndpointCounters.bounds, counters.firstTokenBuckets,
      counters.firstTokenSeconds)
  }

  /// What a replica told of itself.
  mutating func replica(_ labels: [String: String], _ frame: MetricFrame) {
    for one in frame.families {
      family(one.name, one.kind.rawValue, one.help)
      for value in one.samples { sample(one.name, value.labels.merging(labels) { $1 }, value.value) }
    }
    for one in frame.distributions { histogram(one.name, one.help, labels, one.bounds, one.counts.map(Int64.init), one.sum) }
  }

  mutating func scheduler(steps: Histogram, stores: Histogram) {
    histogram("platform_scheduler_step_seconds", "What the scheduler takes for one event.", [:], Histogram.bounds, steps.counts, steps.sum)
    histogram("platform_scheduler_store_seconds", "Transactions of the scheduler's records.", [:], Histogram.bounds, stores.counts, stores.sum)
  }

  private mutating func histogram(
    _ name: String, _ help: String, _ labels: [String: String], _ bounds: [Double], _ buckets: [Int64], _ sum: Double
  ) {
    family(name, "histogram", help)
    var total: Int64 = 0
    for (index, count) in buckets.enumerated() {
      total += count
      let bound = index < bounds.count ? String(bounds[index]) : "+Inf"
      sample(name + "_bucket", labels.merging(["le": bound]) { $1 }, Double(total))
    }
    sample(name + "_sum", labels, sum)
    sample(name + "_count", labels, Double(total))
  }
}
