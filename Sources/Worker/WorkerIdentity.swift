// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Transport

/// The keys with which a worker speaks to its coordinator, and where that is.
public struct WorkerIdentity: Sendable {
  let keys: CurveKeyPair
  let coordinatorKey: CurvePublicKey
  /// `tcp://host:port` of the coordinators' control sockets; the one that leads answers.
  let controlEndpoints: [String]

  /// The address of this machine towards the coordinator; loopback where there is no way to it now.
  var ownAddress: String {
    let place = (controlEndpoints.first ?? "").dropFirst("tcp://".count)
    guard let colon = place.lastIndex(of: ":"), let port = Int(place[place.index(after: colon)...]) else { return "127.0.0.1" }
    return ProcessSupport.ownAddress(towards: String(place[..<colon]), port: port) ?? "127.0.0.1"
  }

  /// A worker that `platform up` starts: it puts its public key where only the cluster's owner can write, and reads the
  /// coordinator's key from the same place.
  /// - Parameter coordinator: `HOST:PORT` of each coordinator, parted by commas.
  /// - Throws: `timeout` when the coordinator has not written its key within 60 s.
  public static func local(
    name: String, directory: String, cluster nodesDirectory: String, coordinatorKey path: String, coordinator: String
  ) async throws -> WorkerIdentity {
    try makePrivate(directory)
    let keys = try KeyPairStore(path: directory + "/key").loadOrCreate()
    let file = nodesDirectory + "/\(name).pub"
    let temporary = file + ".tmp"
    try Data((keys.publicKey.description + "\n").utf8).write(to: URL(fileURLWithPath: temporary))
    guard rename(temporary, file) == 0 else {
      throw PlatformError(.badConfiguration, "cannot write the worker's public key", path: file)
    }
    for _ in 0..<600 {
      if let data = FileManager.default.contents(atPath: path) {
        let text = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        return WorkerIdentity(keys: keys, coordinatorKey: try CurvePublicKey(text), controlEndpoints: coordinator.split(separator: ",").map { "tcp://\($0)" })
      }
      try await Task.sleep(for: .milliseconds(100))
    }
    throw PlatformError(.timeout, "the coordinator has not written its key to \(path) within 60 s")
  }

  /// A worker elsewhere: introduces itself with a join token. The token carries the coordinators' key, so nothing is sent
  /// to anyone else. A node that joined before keeps its key and its place.
  /// - Parameter addresses: the join sockets of one or several coordinators; the one that leads answers.
  /// - Throws: `invalidArgument` for a malformed token; the coordinator's refusal; `unavailable` when nobody answers.
  public static func join(name: String, directory: String, addresses: [String], token text: String) async throws -> WorkerIdentity {
    let token = try JoinToken(text)
    try makePrivate(directory)
    let keys = try KeyPairStore(path: directory + "/key").loadOrCreate()
    // Another coordinator may be about to take over.
    let end = ContinuousClock.now + .seconds(addresses.count > 1 ? 30 : 0)
    while true {
      for address in addresses {
        do {
          let (_, endpoint) = try await Joining.join(
            address: "tcp://\(address)", token: token, keys: keys, node: name, platformVersion: PlatformVersion.current,
            deadline: .seconds(addresses.count > 1 ? 4 : 10))
          return WorkerIdentity(keys: keys, coordinatorKey: token.coordinatorKey, controlEndpoints: [endpoint])
        } catch let error as PlatformError where error.number == "PLT-2102" && (address != addresses.last || ContinuousClock.now < end) {
          continue
        }
      }
    }
  }

  private static func makePrivate(_ directory: String) throws {
    do {
      try FileManager.default.createDirectory(
        atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw PlatformError(.badConfiguration, "cannot create the worker's folder: \(error.localizedDescription)", path: directory)
    }
  }
}
