// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Runs this project's parts against the peers that people would use instead, and prints ratios.
///
///     bench [--only encoder,delta] [--rounds 7] [--peers Sources/bench/peers] [--platform .build-release/release/platform] [--list]
///
/// Both sides do the same work on the same inputs with the same number of threads, checked for the same result, in alternation.
/// Times of a busy machine mean nothing, ratios of neighbouring runs do.
@main
enum Bench {
  static func main() async {
    let arguments = Array(CommandLine.arguments.dropFirst())
    do {
      if arguments.first == ReduceRank.argument { return try ReduceRank.run(Array(arguments.dropFirst())) }
      let options = try Options(arguments)
      if options.wantsList {
        for group in Group.all { Terminal.line(group.name.padding(toLength: 12, withPad: " ", startingAt: 0) + group.about) }
        return
      }
      try await measure(options)
    } catch {
      Terminal.note(PlatformError.from(error).description)
      exit(1)
    }
  }

  private static func measure(_ options: Options) async throws {
    let setup = try await Setup(options)
    var table = Table(rounds: options.rounds)
    var failed = false
    for group in Group.all where options.only.isEmpty || options.only.contains(group.name) {
      Terminal.note("\(group.name): preparing")
      do {
        try await group.run(setup) { comparison in
          let row = try await comparison.measure(rounds: options.rounds)
          Terminal.note("\(group.name): " + Table.summary(row))
          table.rows.append(row)
        }
      } catch {
        // One line that cannot be measured does not take the others with it.
        failed = true
        Terminal.note("\(group.name): \(PlatformError.from(error).description)")
      }
    }
    if !table.rows.isEmpty { Terminal.line(table.text) }
    if !setup.figures.isEmpty { Terminal.line(Figure.table(setup.figures)) }
    if failed { exit(1) }
  }
}

/// What the command line says.
struct Options {
  var only: Set<String> = []
  var rounds = 5
  var peers = "Sources/bench/peers"
  /// The program whose clusters are measured.
  var platform = ".build-release/release/platform"
  var wantsList = false

  init(_ arguments: [String]) throws {
    var rest = arguments[...]
    func value(_ name: String) throws -> String {
      guard let value = rest.popFirst() else { throw PlatformError(.invalidArgument, "\(name) needs a value") }
      return value
    }
    while let argument = rest.popFirst() {
      switch argument {
      case "--only": only = Set(try value(argument).split(whereSeparator: { $0 == "," || $0 == " " }).map(String.init))
      case "--rounds":
        guard let count = Int(try value(argument)), (1...1000).contains(count) else {
          throw PlatformError(.invalidArgument, "--rounds is a number from 1 to 1000")
        }
        rounds = count
      case "--peers": peers = try value(argument)
      case "--platform": platform = try value(argument)
      case "--list": wantsList = true
      default:
        throw PlatformError(
          .invalidArgument, "unknown argument '\(argument)'",
          hint: "bench [--only NAMES] [--rounds N] [--peers FOLDER] [--platform FILE] [--list]")
      }
    }
    let known = Set(Group.all.map(\.name))
    if let unknown = only.subtracting(known).sorted().first {
      throw PlatformError(.invalidArgument, "there is no benchmark '\(unknown)'", hint: "There are \(known.sorted().joined(separator: ", ")).")
    }
  }
}

/// What all groups share: the peers' process, a folder for inputs, and real text.
final class Setup {
  let peer: Peer
  let folder: Scratch
  let options: Options
  lazy var corpus = Corpus()
  /// What was measured and has no peer.
  var figures: [Figure] = []

  init(_ options: Options) async throws {
    self.options = options
    folder = try Scratch()
    peer = try await Peer(scripts: options.peers, folder: folder.path)
  }

  func file(_ name: String) -> String { folder.path + "/" + name }
}

/// A folder that goes away with the value.
final class Scratch {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "platform-bench-" + UUID().uuidString.prefix(8)
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }  // a leftover in the temporary folder harms nobody
}

enum Terminal {
  /// Results go to standard output, remarks to standard error.
  static func line(_ text: String) { FileHandle.standardOutput.write(Data((text + "\n").utf8)) }
  static func note(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }
}
