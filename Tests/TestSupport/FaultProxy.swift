// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// A proxy for one HTTP server that misbehaves as it is told, request by request. Each connection carries one request.
public final class FaultProxy: Sendable {
  public enum Fault: Sendable, Hashable {
    /// Closes at once.
    case drop
    /// The server carries the request out, but its answer is lost.
    case loseAnswer
    /// This status with this body, without asking the server.
    case answer(status: Int, body: String)
    /// The answer's head and so many bytes behind it, then the end.
    case truncate(Int)
    /// No answer, until the other side gives up.
    case hang
  }

  public let port: Int
  private let listener: Int32
  private let target: Int
  private struct State {
    var faults: [Fault?] = []
    var requests: [String] = []
  }
  private let state = Mutex(State())

  public init(to target: Int) throws {
    self.target = target
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = Self.loopback(port: 0)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isListening = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, length) == 0 && listen(listener, 64) == 0 && getsockname(listener, $0, &length) == 0
      }
    }
    self.listener = listener
    port = Int(UInt16(bigEndian: address.sin_port))
    guard isListening else { throw Peers.PeerError(text: "cannot listen") }
    let thread = Thread { [weak self] in
      while true {
        let connection = accept(listener, nil, nil)
        guard connection >= 0, let self else { return }
        let serve = Thread { self.serve(connection) }
        serve.start()
      }
    }
    thread.start()
  }

  deinit {
    shutdown(listener, Int32(SHUT_RDWR))
    close(listener)
  }

  public var endpoint: String { "http://127.0.0.1:\(port)" }
  /// First lines of the requests so far.
  public var requests: [String] { state.withLock { $0.requests } }

  /// What happens to the next requests; nil is a request that passes. Later ones pass.
  public func plan(_ faults: [Fault?]) {
    state.withLock { $0 = State(faults: faults) }
  }

  private static func loopback(port: Int) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
  }

  private static func read(_ descriptor: Int32) -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    let count = recv(descriptor, &buffer, buffer.count, 0)
    return count > 0 ? Array(buffer[..<count]) : nil
  }

  @discardableResult
  private static func write(_ descriptor: Int32, _ bytes: some Collection<UInt8>) -> Bool {
    let bytes = Array(bytes)
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes { send(descriptor, $0.baseAddress! + done, bytes.count - done, Int32(MSG_NOSIGNAL)) }
      guard count > 0 else { return false }
      done += count
    }
    return true
  }

  private func serve(_ client: Int32) {
    defer { close(client) }
    // The whole request: head, and as many bytes as it announces.
    var request: [UInt8] = []
    var headEnd: Int?
    while true {
      if headEnd == nil, let range = Data(request).range(of: Data("\r\n\r\n".utf8)) { headEnd = range.upperBound }
      if let headEnd {
        let head = String(decoding: request[..<headEnd], as: UTF8.self).lowercased()
        let announced = head.split(separator: "\r\n").first { $0.hasPrefix("content-length:") }
          .flatMap { Int($0.dropFirst(15).trimmingCharacters(in: .whitespaces)) }
        if request.count >= headEnd + (announced ?? 0) { break }
      }
      guard let more = Self.read(client) else { return }
      request += more
    }
    guard let headEnd else { return }
    let lines = String(decoding: request[..<headEnd], as: UTF8.self).components(separatedBy: "\r\n").filter { !$0.isEmpty }
    let fault = state.withLock { state -> Fault? in
      state.requests.append(lines.first ?? "")
      return state.faults.isEmpty ? nil : state.faults.removeFirst()
    }
    switch fault {
    case .drop: return
    case .hang:
      while Self.read(client) != nil {}
      return
    case .answer(let status, let body):
      Self.write(client, "HTTP/1.1 \(status) Fault\r\ncontent-length: \(body.utf8.count)\r\nconnection: close\r\n\r\n\(body)".utf8)
      return
    default: break
    }
    let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(server) }
    var address = Self.loopback(port: target)
    let isConnected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 }
    }
    guard isConnected else { return }
    let head = (lines.filter { !$0.lowercased().hasPrefix("connection:") } + ["connection: close"]).joined(separator: "\r\n") + "\r\n\r\n"
    guard Self.write(server, head.utf8), Self.write(server, request[headEnd...]) else { return }
    var answer: [UInt8] = []
    while let more = Self.read(server) { answer += more }
    switch fault {
    case .loseAnswer: return
    case .truncate(let count):
      let end = Data(answer).range(of: Data("\r\n\r\n".utf8))?.upperBound ?? answer.count
      Self.write(client, answer.prefix(end + count))
    default: Self.write(client, answer)
    }
  }
}
