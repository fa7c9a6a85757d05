// SPDX-License-Identifier: Apache-2.0

import Core

/// What the command line says of a worker's room.
enum Capacity {
  /// - Throws: `invalidArgument` for what is not LABEL=VALUE, and for names that the platform gives itself.
  static func labels(_ pairs: [String]) throws -> [String: String] {
    var result: [String: String] = [:]
    for pair in pairs {
      guard let equals = pair.firstIndex(of: "="), equals > pair.startIndex else {
        throw PlatformError(.invalidArgument, "--label \(pair.prefix(100)) is no label", hint: "Write --label NAME=VALUE.", number: "PLT-4260")
      }
      let name = String(pair[..<equals])
      guard name != "node", name != "host" else {
        throw PlatformError(
          .invalidArgument, "the label '\(name)' is the platform's own", hint: "It is what 'platform nodes list' says; choose another name.",
          number: "PLT-4260")
      }
      result[name] = String(pair[pair.index(after: equals)...])
    }
    return result
  }

  /// - Throws: `invalidArgument` for what is no number of bytes.
  static func memory(_ text: String) throws -> Int64 {
    let units: [(String, Double)] = [
      ("KiB", 1_024), ("MiB", 1_048_576), ("GiB", 1_073_741_824), ("TiB", 1_099_511_627_776), ("kB", 1e3), ("KB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12),
      ("B", 1),
    ]
    let unit = units.first { text.hasSuffix($0.0) }
    let number = Double(text.dropLast(unit?.0.count ?? 0)) ?? 0
    guard let bytes = Int64(exactly: (number * (unit?.1 ?? 1)).rounded(.down)), bytes > 0 else {
      throw PlatformError(.invalidArgument, "--memory \(text.prefix(100)) is no number of bytes", hint: "For example 48GB or 512MiB.", number: "PLT-4260")
    }
    return bytes
  }

  /// - Throws: `invalidArgument` for processors that no machine has.
  static func check(cpus: Double?) throws {
    guard let cpus, !(cpus > 0 && cpus <= 65_536) else { return }
    throw PlatformError(.invalidArgument, "--cpus must be more than 0", hint: "For example 4, or 0.5.", number: "PLT-4260")
  }
}
