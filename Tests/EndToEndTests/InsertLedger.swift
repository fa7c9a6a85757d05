// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
import TestSupport

/// A client that inserts numbers, one after the other and each once, and notes what was acknowledged: whatever happens meanwhile, each
/// acknowledged number is there once afterwards, and no other number more than once.
final class InsertLedger: Sendable {
  private struct State {
    var isStopping = false
    var isDone = false
    var acknowledged: [Int] = []
    var failed: [Int: String] = [:]
  }

  let table: String
  private let state = Mutex(State())

  /// Makes the table and begins.
  /// - Parameter addresses: `HOST:PORT` of the coordinators, used in turn.
  init(_ cluster: LocalCluster, table: String, addresses: [String]? = nil) throws {
    self.table = table
    let addresses = addresses ?? [cluster.http]
    let made = try cluster.cli(
      ["sql", "create table \(table) (i bigint)"], environment: ["PLATFORM_HOST": "http://\(addresses[0])", "PLATFORM_TOKEN": cluster.token])
    guard made.status == 0 else { throw PlatformError(.internalError, "no table: \(made.all)") }
    let token = cluster.token
    let thread = Thread {
      var number = 0
      while !self.state.withLock({ $0.isStopping }) {
        number += 1
        let body = #"{"statement": "insert into \#(table) values (\#(number))", "wait_timeout": "50s", "on_wait_timeout": "CANCEL"}"#
        let answer = try? LocalCluster.call(addresses[number % addresses.count], "POST", "/api/2.0/sql/statements", token: token, body: body)
        let succeeded = answer?.status == 200 && answer?.body.contains(#""state":"SUCCEEDED""#) == true
        self.state.withLock { state in
          if succeeded {
            state.acknowledged.append(number)
          } else {
            state.failed[number] = answer.map { "\($0.status) \($0.body.prefix(300))" } ?? "no answer"
          }
        }
        if !succeeded { usleep(100_000) }
      }
      self.state.withLock { $0.isDone = true }
    }
    thread.start()
  }

  var count: Int { state.withLock { $0.acknowledged.count } }
  var failures: [Int: String] { state.withLock { $0.failed } }

  /// Returns when so many more were acknowledged as of now.
  func advance(_ cluster: LocalCluster, by more: Int, seconds: Double = 120) throws {
    let target = count + more
    try cluster.wait("\(more) more inserts into \(table) (failures: \(failures.values.suffix(3)))", seconds: seconds) { count >= target }
  }

  /// Ends, and says what is wrong: nil is nothing.
  func verdict(_ cluster: LocalCluster) throws -> String? {
    state.withLock { $0.isStopping = true }
    try cluster.wait("the last insert", seconds: 120) { state.withLock { $0.isDone } }
    let rows = try cluster.cli(["sql", "select i, count(*) as n from \(table) group by i order by i", "-o", "csv"])
    guard rows.status == 0 else { return rows.all }
    var found: [Int: Int] = [:]
    for line in rows.out.split(whereSeparator: \.isNewline).dropFirst() {
      let cells = line.split(separator: ",").compactMap { Int($0) }
      if cells.count == 2 { found[cells[0]] = cells[1] }
    }
    let lost = state.withLock { $0.acknowledged }.filter { found[$0] == nil }
    let doubled = found.filter { $0.value > 1 }.keys.sorted()
    return lost.isEmpty && doubled.isEmpty ? nil : "lost \(lost), doubled \(doubled), failed \(failures.sorted { $0.key < $1.key })"
  }
}

extension LocalCluster {
  /// One HTTP call with all that came back.
  static func call(
    _ address: String, _ method: String, _ path: String, token: String?, body: String? = nil
  ) throws -> (status: Int, headers: String, body: String) {
    var arguments = ["-s", "-i", "--max-time", "100", "-X", method, "http://\(address)\(path)"]
    if let token { arguments += ["-H", "Authorization: Bearer \(token)"] }
    if let body { arguments += ["-H", "Content-Type: application/json", "--data-binary", body] }
    let answer = try run("/usr/bin/curl", arguments, timeout: 110).out
    guard let end = answer.range(of: "\r\n\r\n") else { return (0, "", answer) }
    let head = answer[..<end.lowerBound]
    return (Int(head.split(separator: " ").dropFirst().first ?? "") ?? 0, head.lowercased(), String(answer[end.upperBound...]))
  }

  /// The private Postgres and its children.
  func postgresProcesses() throws -> [Int32] {
    let text = String(decoding: FileManager.default.contents(atPath: data + "/pg/data/postmaster.pid") ?? Data(), as: UTF8.self)
    guard let server = text.split(separator: "\n").first.flatMap({ Int32($0) }) else { throw PlatformError(.notFound, "no Postgres") }
    let children = try Self.run("/usr/bin/pgrep", ["-P", String(server)], timeout: 20).out.split(separator: "\n").compactMap { Int32($0) }
    return [server] + children
  }
}
