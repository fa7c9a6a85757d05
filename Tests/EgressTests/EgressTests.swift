// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
import Testing

@testable import Egress

/// Where URLs of people may lead, and that requests go nowhere else.
@Suite struct EgressTests {
  @Test(arguments: [
    "127.0.0.1", "127.255.0.1", "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.1.1", "192.0.0.8",
    "198.18.0.1", "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
    "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1", "fec0::1", "100::1",
  ]) func placesInsideAreNoPublicOnes(_ text: String) throws {
    let address = try #require(IPAddress(text))
    #expect(!address.isPublic && !EgressRules().allows(address))
  }

  @Test(arguments: ["93.184.216.34", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8"])
  func theInternetIsPublic(_ text: String) throws { #expect(try #require(IPAddress(text)).isPublic) }

  @Test func blocksOfTheOperatorAreAllowed() throws {
    let rules = try EgressRules(environment: [EgressRules.variable: "10.1.0.0/16, 192.168.7.9,fd00:1::/32"])
    for (text, isAllowed) in [
      ("10.1.255.1", true), ("10.2.0.1", false), ("192.168.7.9", true), ("192.168.7.8", false), ("fd00:1::7", true), ("fd00:2::7", false),
      ("::ffff:10.1.0.1", true), ("127.0.0.1", false), ("8.8.8.8", true),
    ] { #expect(rules.allows(try #require(IPAddress(text))) == isAllowed, "\(text)") }
    #expect(try EgressRules(environment: [:]) == EgressRules())
    for wrong in ["10.1.2.3/8", "lan", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/-1", "::/200"] {
      #expect(throws: PlatformError.self, "\(wrong)") { try EgressRules(environment: [EgressRules.variable: wrong]) }
    }
  }

  @Test(arguments: [
    ("https://example.com", "https://example.com/"), ("HTTP://Example.COM:8080/a/b?c=d", "http://example.com:8080/a/b?c=d"),
    ("https://example.com.:443?x=1", "https://example.com/?x=1"), ("http://[2606:4700::1]:80/x", "http://[2606:4700::1]/x"),
    ("http://127.0.0.1:9/", "http://127.0.0.1:9/"), ("https://hooks.a_b.example/T0/%20", "https://hooks.a_b.example/T0/%20"),
  ]) func urlsAreTakenApart(_ given: String, _ text: String) throws { #expect(try EgressURL(given).text == text) }

  @Test(arguments: [
    "", "example.com", "ftp://example.com/", "file:///etc/passwd", "gopher://x/", "http://", "http:///x", "http://a@b/", "http://127.0.0.1@example.com/",
    "http://example.com\\@127.0.0.1/", "http://exa mple.com/", "http://example.com/a b", "http://example.com/#x", "http://example.com:0/",
    "http://example.com:99999/", "http://example.com:80a/", "http://example.com:-1/", "http://2130706433/", "http://0x7f000001/", "http://127.1/",
    "http://0177.0.0.1/", "http://127.0.0.1.1/", "http://0x7f.0.0.1/", "http://1/", "http://[::1/", "http://[127.0.0.1]/", "http://[::1]x/",
    "http://[fe80::1%25eth0]/",
    "http://ex%61mple.com/", "http://ⓔxample.com/", "http://example.com/\r\nX: y", "http://-/\u{0}",
    "http://a..b/", "http://" + String(repeating: "a", count: 64) + ".com/",
    "https://example.com/" + String(repeating: "a", count: 2048),
  ]) func oddURLsAreRefused(_ given: String) {
    let error = #expect(throws: PlatformError.self) { try EgressURL(given) }
    #expect(error?.number == "PLT-4307")
  }

  // MARK: requests

  private static let loopback = EgressRules(allowed: [AddressBlock("127.0.0.1")].compactMap { $0 })

  private func failure(_ body: () async throws -> Void) async throws -> PlatformError {
    try #require(await #expect(throws: PlatformError.self) { try await body() })
  }

  @Test func theNameIsLookedUpOnceAndTheConnectionGoesThere() async throws {
    let server = try LoopbackServer(answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    let asked = Mutex<[String]>([])
    let client = EgressClient(rules: Self.loopback) { host in
      asked.withLock { $0.append(host) }
      return [IPAddress("127.0.0.1")].compactMap { $0 }
    }
    var call = EgressClient.Call(try EgressURL("http://Receiver.example:\(server.port)/hook?a=b"))
    call.headers = [("x-test", "1")]
    call.body = Data("{}".utf8)
    let answer = try await client.send(call)
    #expect(answer.status == 200 && answer.body == Data("ok".utf8))
    #expect(asked.withLock { $0 } == ["receiver.example"])
    let request = try #require(server.requests().first)
    #expect(request.hasPrefix("POST /hook?a=b HTTP/1.1\r\n") && request.lowercased().contains("host: receiver.example:\(server.port)\r\n"), "\(request)")
    #expect(request.lowercased().contains("x-test: 1") && request.hasSuffix("{}"), "\(request)")
  }

  @Test func oneAddressInsideRefusesTheName() async throws {
    let server = try LoopbackServer(answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    let client = EgressClient(rules: Self.loopback) { _ in ["127.0.0.1", "10.0.0.1"].compactMap { IPAddress($0) } }
    let error = try await failure { _ = try await client.send(EgressClient.Call(EgressURL("http://two.example:\(server.port)/"))) }
    #expect(error.number == "PLT-4308" && error.message.contains("10.0.0.1") && !error.isRetryable)
    let strict = EgressClient(rules: EgressRules())
    #expect(try await failure { _ = try await strict.send(EgressClient.Call(EgressURL("http://127.0.0.1:\(server.port)/"))) }.number == "PLT-4308")
    #expect(try await failure { _ = try await strict.send(EgressClient.Call(EgressURL("http://[::ffff:127.0.0.1]:\(server.port)/"))) }.number == "PLT-4308")
    #expect(server.requests().isEmpty)
  }

  @Test func redirectsAreAnswersAndLongAnswersAreCut() async throws {
    let other = try LoopbackServer(answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    let server = try LoopbackServer(answer: "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:\(other.port)/\r\nContent-Length: 0\r\n\r\n")
    let client = EgressClient(rules: Self.loopback)
    #expect(try await client.send(EgressClient.Call(EgressURL("http://127.0.0.1:\(server.port)/"))).status == 302)
    #expect(other.requests().isEmpty)
    let endless = try LoopbackServer(answer: "HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + String(repeating: "x", count: 100_000))
    let answer = try await client.send(EgressClient.Call(EgressURL("http://127.0.0.1:\(endless.port)/")))
    #expect(answer.status == 200 && answer.body.count == 16 << 10)
  }

  @Test func whoeverDoesNotAnswerIsGivenUp() async throws {
    let silent = try LoopbackServer(answer: "")
    let client = EgressClient(rules: Self.loopback)
    var call = EgressClient.Call(try EgressURL("http://127.0.0.1:\(silent.port)/"))
    call.patience = .milliseconds(300)
    let late = call
    let error = try await failure { _ = try await client.send(late) }
    #expect(error.number == "PLT-4309" && error.isRetryable, "\(error)")
    let nobody = EgressClient(rules: Self.loopback) { _ in throw PlatformError(.unavailable, "'x' has no address", number: "PLT-4309") }
    #expect(try await failure { _ = try await nobody.send(EgressClient.Call(EgressURL("http://x.example/"))) }.isRetryable)
  }

  @Test func theSystemKnowsLocalhost() async throws {
    let found = try await HostResolver.addresses(of: "localhost")
    #expect(!found.isEmpty && found.allSatisfy { !$0.isPublic })
  }
}

/// Answers every connection with the same bytes once a request has come, and keeps the connection open.
private final class LoopbackServer: Sendable {
  let port: Int
  private let listener: Int32
  private let seen = Mutex<[String]>([])
  private let open = Mutex<[Int32]>([])

  init(answer: String) throws {
    listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let descriptor = listener
    let isBound = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, size) == 0 && listen(descriptor, 16) == 0 && getsockname(descriptor, $0, &size) == 0
      }
    }
    guard isBound else { throw PlatformError(.unavailable, "no free port") }
    port = Int(UInt16(bigEndian: address.sin_port))
    let thread = Thread { [weak self] in
      while true {
        let peer = accept(descriptor, nil, nil)
        guard peer >= 0 else { return }
        guard let self else { return }
        self.open.withLock { $0.append(peer) }
        var request = ""
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while !Self.isWhole(request) {
          let count = recv(peer, &buffer, buffer.count, 0)
          guard count > 0 else { break }
          request += String(decoding: buffer[..<count], as: UTF8.self)
        }
        guard !request.isEmpty else { continue }
        let whole = request
        self.seen.withLock { $0.append(whole) }
        let bytes = Array(answer.utf8)
        _ = send(peer, bytes, bytes.count, Int32(MSG_NOSIGNAL))
      }
    }
    thread.start()
  }

  /// Whether the body has come too.
  private static func isWhole(_ request: String) -> Bool {
    guard let end = request.firstRange(of: "\r\n\r\n") else { return false }
    let length = request.lowercased().firstMatch(of: /content-length: (\d+)/).flatMap { Int($0.1) } ?? 0
    return request[end.upperBound...].utf8.count >= length
  }

  deinit {
    shutdown(listener, Int32(SHUT_RDWR))
    close(listener)
    for peer in open.withLock({ $0 }) { close(peer) }
  }

  func requests() -> [String] { seen.withLock { $0 } }
}
