// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct EventsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "events", abstract: "What happened in the cluster: nodes, leaders, runs that ended badly, replicas.",
    discussion: """
      Kept for 30 days, and never more than 100000. Kinds: leader.changed, node.joined|silent|returned|cordoned|draining|opened,
      run.failed|cancelled, task.failed|retried|limited, unit.failed|lost|preempted, replica.failed|lost. The first word alone means all of it.

      EXAMPLES
        platform events                            the newest hundred
        platform events --since 1h --kind node,leader
        platform events --kind run.failed -o json | jq .events
        platform events --follow
      """)
  @Option(help: "Only later ones: 30s, 15m, 1h, 2d, or a time like 2026-01-31T08:00:00Z.") var since: String?
  @Option(help: "Only these kinds, parted by commas.") var kind: String?
  @Option(help: "At most so many, 1 to 1000.") var limit = 100
  @Flag(name: .shortAndLong, help: "Go on with what happens from now on.") var follow = false
  @OptionGroup var options: ClientOptions

  func run() async throws {
    guard (1...1000).contains(limit) else { throw PlatformError(.invalidArgument, "--limit must be 1 to 1000") }
    let client = try options.client()
    var filter = "limit=\(limit)"
    if let kind { filter += "&kind=\(segment(kind))" }
    let from = try since.map { try TimeText.past($0) }
    var page: EventList = try await client.get("/api/2.0/events?\(filter)" + (from.map { "&since=\(segment($0.formatted(.iso8601)))" } ?? ""))
    if !follow {
      if options.output.isStructured { return try Report.structured(page, options.output) }
      if page.events.isEmpty { return Report.note("Nothing of that happened.") }
      Report.table(["TIME", "KIND", "WHAT"], page.events.map { [$0.at.formatted(.iso8601), Self.mark($0) + $0.kind, $0.message] })
      return
    }
    while true {
      for event in page.events {
        if options.output.isStructured {
          Report.data(String(decoding: try JSONEncoder.platform.encode(event), as: UTF8.self))
        } else {
          Report.data("\(event.at.formatted(.iso8601))  \(Self.mark(event))\(event.kind)  \(event.message)")
        }
      }
      if page.events.isEmpty { try await Task.sleep(for: .milliseconds(500)) }
      let last = page.last
      // A coordinator that changes is one of the things to see.
      do { page = try await client.get("/api/2.0/events?\(filter)&after=\(last)") } catch let error as PlatformError where error.code == .unavailable {
        page.events = []
      }
    }
  }

  private static func mark(_ event: EventInfo) -> String { event.severity == "ERROR" ? "\(Report.cross) " : event.severity == "WARNING" ? "! " : "  " }
}

/// Times that people write.
enum TimeText {
  /// `15m` ago, or a time.
  /// - Throws: `invalidArgument` PLT-4410.
  static func past(_ text: String, now: Date = Date()) throws -> Date {
    let units: [Character: Double] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
    if let last = text.last, let unit = units[last], let count = Double(text.dropLast()), count >= 0, count.isFinite {
      return now.addingTimeInterval(-count * unit)
    }
    if let date = try? Date(text, strategy: .iso8601) { return date }  // no time: said so below
    throw PlatformError(
      .invalidArgument, "'\(text.prefix(100))' is no time", hint: "Write 30s, 15m, 1h, 2d, or 2026-01-31T08:00:00Z.", number: "PLT-4410")
  }
}
