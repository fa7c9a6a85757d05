// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Core

struct UpgradeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "upgrade", abstract: "Give the machines of a cluster file this program, one after the other.",
    discussion: """
      Each worker is emptied first, and the next one is touched when it is back; the coordinator comes last. It stops at the first failure. The same
      command goes on from there; the program of before goes back in the same way.

      EXAMPLES
        platform upgrade -f cluster/three-node.yaml --rolling --plan
        platform upgrade -f cluster/three-node.yaml --rolling
        platform upgrade -f cluster/three-node.yaml --rolling --limit w1     one node
      """)
  @Option(name: [.short, .long], help: "The cluster file.") var file: String
  @Flag(help: "One node after the other, while the cluster works. Without it: 'platform up -f' starts all again at once.") var rolling = false
  @Flag(help: "Only show what would be done.") var plan = false
  @Option(help: "Touch only this node; may be repeated.") var limit: [String] = []
  @Flag(help: "Do not ask.") var yes = false
  @Option(help: "Seconds that the work of one node may take to end or move.") var drainSeconds: Int = 3600

  func run() async throws {
    guard rolling else {
      throw PlatformError(.invalidArgument, "say how: --rolling", hint: "To start all machines again at once: platform up -f \(file)")
    }
    guard drainSeconds > 0 else { throw PlatformError(.invalidArgument, "--drain-seconds must be above 0") }
    try await ClusterBringUp(file: ClusterBringUp.load(file), limit: limit, isPlan: plan, yes: yes).upgrade(drainSeconds: drainSeconds)
  }
}
