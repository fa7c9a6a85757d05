// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Coordinator
import Core
import Foundation

enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
  /// `wide` is text without cut-off cells.
  case text, wide, json, yaml, csv, name

  /// For programs: everything but text.
  var isStructured: Bool { self != .text && self != .wide }
}

/// Where the data of a cluster on this machine is.
struct DataOptions: ParsableArguments {
  @Option(name: .long, help: "Where this cluster keeps its data. Default: PLATFORM_HOME, /var/lib/platform as root, ~/.local/share/platform otherwise.")
  var dataDir: String?

  var layout: DataLayout { DataLayout(root: dataDir ?? DataLayout.defaultRoot) }
}

/// Options of every command that asks a running cluster.
struct ClientOptions: ParsableArguments {
  @OptionGroup var data: DataOptions
  @Option(name: .long, help: "URL of the coordinator. Default: PLATFORM_HOST, or the cluster of this machine.")
  var host: String?
  @Option(name: [.short, .long], help: "text, wide, json, yaml, csv or name.")
  var output: OutputFormat = .text
  @Option(name: .long, help: "Give up after this many seconds.")
  var timeout: Int = 120

  /// - Throws: `unavailable` when no cluster is known.
  func client() throws -> PlatformClient {
    let environment = ProcessInfo.processInfo.environment
    let layout = data.layout
    let state = layout.loadState()
    guard let url = host ?? environment["PLATFORM_HOST"].flatMap({ $0.isEmpty ? nil : $0 }) ?? state?.url else {
      throw PlatformError(
        .unavailable, "no cluster is running on this machine (looked in \(layout.root))",
        hint: "Start one with 'platform up', or set PLATFORM_HOST and PLATFORM_TOKEN.", number: "PLT-1501")
    }
    let token = environment["PLATFORM_TOKEN"].flatMap { $0.isEmpty ? nil : $0 } ?? layout.loadAdminToken()
    var client = PlatformClient(host: url, token: token, timeout: .seconds(timeout))
    if url == state?.url { client.others = state?.otherURLs ?? [] }
    return client
  }
}

/// Percent-encodes one path segment.
func segment(_ text: String) -> String {
  text.addingPercentEncoding(withAllowedCharacters: CharacterSet.alphanumerics.union(CharacterSet(charactersIn: "-._~"))) ?? text
}
