// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct LineageCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lineage", abstract: "Where the rows of a table come from, and where they go.",
    discussion: """
      EXAMPLES
        platform lineage main.demo.chunks
        platform lineage main.demo.documents --up 0 --down 5
        platform lineage main.demo.totals --column amount
      """)
  @Argument(help: "catalog.schema.table, or what else has rows behind it: a model, an endpoint.") var name: String
  @Option(help: "One column instead of the whole table.") var column: String?
  @Option(help: "How many steps towards the sources.") var up: Int = 1
  @Option(help: "How many steps towards what is made from it.") var down: Int = 1
  @OptionGroup var options: ClientOptions

  /// What one step finds.
  struct Step: Codable, Sendable {
    var direction: String
    var distance: Int
    /// The neighbour that was asked.
    var from: String
    var object: String
    var column: String?
    var kind: String
    var event: LineageEvent
  }

  private struct Place: Hashable {
    var object: String
    var column: String?
  }

  /// More objects than this are not asked for their neighbours.
  private static let limit = 500

  func run() async throws {
    guard (0...20).contains(up), (0...20).contains(down) else { throw PlatformError(.invalidArgument, "--up and --down must be 0 to 20") }
    let client = try options.client()
    var steps: [Step] = []
    var asked = 0
    for (direction, depth) in [("up", up), ("down", down)] {
      var edge = [Place(object: name, column: column)]
      var seen = Set(edge)
      for distance in stride(from: 1, through: depth, by: 1) {
        var next: [Place] = []
        for place in edge {
          asked += 1
          guard asked <= Self.limit else {
            throw PlatformError(.resourceExhausted, "more than \(Self.limit) objects are connected", hint: "Ask for fewer steps.")
          }
          for step in try await neighbours(client, place, direction, distance) {
            steps.append(step)
            let found = Place(object: step.object, column: step.column)
            if seen.insert(found).inserted { next.append(found) }
          }
        }
        edge = next
      }
    }
    if options.output == .name { return Set(steps.map(\.object)).sorted().forEach { Report.data($0) } }
    if options.output.isStructured { return try Report.structured(steps, options.output) }
    guard !steps.isEmpty else { return Report.note("Nothing is known to flow into \(name) or out of it.") }
    Report.table(
      ["DIRECTION", "STEP", "OBJECT", "KIND", "VERSION", "NEXT TO", "BY", "RUN", "AT"],
      steps.map { step in
        let version = step.direction == "up" ? step.event.sourceVersion : step.event.targetVersion
        return [
          step.direction, "\(step.distance)", step.object + (step.column.map { "." + $0 } ?? ""), step.kind, version.map { "\($0)" } ?? "", step.from,
          step.event.createdBy ?? "", step.event.runID ?? "", CatalogCalls.time(step.event.eventTime),
        ]
      })
  }

  private func neighbours(_ client: PlatformClient, _ place: Place, _ direction: String, _ distance: Int) async throws -> [Step] {
    let base = "/api/2.0/lineage-tracking"
    if let column = place.column {
      let found: ColumnLineageInfo = try await client.get("\(base)/column-lineage?table_name=\(segment(place.object))&column_name=\(segment(column))")
      return (direction == "up" ? found.upstreamColumns : found.downstreamColumns).map {
        Step(
          direction: direction, distance: distance, from: "\(place.object).\(column)", object: $0.fullTableName, column: $0.name, kind: "column",
          event: $0.event)
      }
    }
    let found: TableLineageInfo = try await client.get("\(base)/table-lineage?table_name=\(segment(place.object))")
    return (direction == "up" ? found.upstreams : found.downstreams).map {
      Step(direction: direction, distance: distance, from: place.object, object: $0.fullName, column: nil, kind: $0.kind, event: $0.event)
    }
  }
}
