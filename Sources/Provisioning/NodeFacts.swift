// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// What a machine says of itself before anything is done to it.
public struct NodeFacts: Sendable, Equatable {
  /// How the person who logs in may change the machine.
  public enum Power: String, Sendable { case root, sudo, none }

  public var architecture = ""
  public var hostName = ""
  public var system = ""
  public var libc = ""
  public var processors = 0
  public var memoryBytes: Int64 = 0
  public var instructions: Set<String> = []
  public var user = ""
  public var userID = 0
  public var power = Power.none
  public var hasSystemd = false
  public var hasApt = false
  /// Of the service user; nil: there is none yet.
  public var serviceUserID: Int?
  /// Where the data folder is or will be.
  public var freeBytes: Int64 = 0
  /// Seconds that its clock is ahead of ours.
  public var clockOffset = 0.0
  /// Identity of the installed bundle; empty: none.
  public var bundle = ""
  public var missingLibraries: [String] = []
  /// The folder of the Postgres server's programs; empty: none.
  public var postgres = ""
  public var listening: Set<Int> = []
  /// What runs already of this cluster's services there.
  public var running: Set<ClusterFile.Role> = []
  /// Whether an upgrade that did not end has closed it for new work.
  public var isUpgrading = false
  /// SHA-256 of what each service was started with; of nothing where it never was.
  public var settings: [ClusterFile.Role: String] = [:]

  /// Parses what `NodeScripts.facts` printed.
  /// - Parameters:
  ///   - sent, received: our clock around the call, seconds since 1970.
  /// - Throws: `unavailable` when the answer is not one of that script.
  public init(parsing text: String, sent: Double, received: Double) throws {
    var values: [String: String] = [:]
    for line in text.split(separator: "\n") {
      guard line.hasPrefix("fact:"), let equals = line.firstIndex(of: "=") else { continue }
      values[String(line[line.index(line.startIndex, offsetBy: 5)..<equals])] = String(line[line.index(after: equals)...])
    }
    guard values["end"] == "yes", let architecture = values["arch"] else {
      let said = text.split(separator: "\n").last.map { String($0.prefix(200)) } ?? "nothing"
      throw PlatformError(.unavailable, "the machine did not answer the questions; it said: \(said)", number: "PLT-4391")
    }
    func list(_ name: String) -> [String] { (values[name] ?? "").split(separator: " ").map(String.init) }
    self.architecture = architecture
    hostName = values["host"] ?? ""
    system = values["os"] ?? ""
    libc = values["libc"] ?? ""
    processors = Int(values["cpus"] ?? "") ?? 0
    memoryBytes = (Int64(values["memory_kb"] ?? "") ?? 0).multipliedReportingOverflow(by: 1024).partialValue
    instructions = Set(list("flags"))
    user = values["user"] ?? ""
    userID = Int(values["uid"] ?? "") ?? -1
    power = Power(rawValue: values["power"] ?? "") ?? .none
    hasSystemd = values["systemd"] == "yes"
    hasApt = values["apt"] == "yes"
    serviceUserID = Int(values["service_uid"] ?? "")
    freeBytes = (Int64(values["free_kb"] ?? "") ?? 0).multipliedReportingOverflow(by: 1024).partialValue
    bundle = values["bundle"] ?? ""
    missingLibraries = list("missing")
    postgres = values["postgres"] ?? ""
    listening = Set(list("listening").compactMap { Int($0, radix: 16) })
    running = Set(list("running").compactMap(ClusterFile.Role.init(rawValue:)))
    isUpgrading = values["upgrading"] == "yes"
    for role in ClusterFile.Role.allCases { settings[role] = values["settings_\(role.rawValue)"] }
    if let clock = Double(values["time"] ?? "") { clockOffset = clock - (sent + received) / 2 }
  }

  /// The widest instructions that our kernels have a variant for.
  public var vectorUnit: String {
    if instructions.isSuperset(of: ["avx512f", "avx512bw", "avx512vl"]) { return "avx512" }
    return instructions.isSuperset(of: ["avx2", "fma"]) ? "avx2" : "generic"
  }
}
