// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Egress

/// Mail through the operator's server.
@Suite struct MailTests {
  private static let good = ["PLATFORM_SMTP_URL": "smtp://mail.lan:587", "PLATFORM_SMTP_FROM": "platform@example.com"]

  @Test func settingsAreRead() throws {
    #expect(try MailSettings(environment: [:]) == nil)
    let plain = try #require(try MailSettings(environment: Self.good))
    #expect(plain.url == "smtp://mail.lan:587" && plain.requiresTLS && plain.user == nil && plain.from == "platform@example.com")
    let more = ["PLATFORM_SMTP_URL": "smtps://[fd00::1]:465", "PLATFORM_SMTP_USER": "u", "PLATFORM_SMTP_PASSWORD_FILE": "/p", "PLATFORM_SMTP_CA": "/ca"]
    let secure = try #require(try MailSettings(environment: Self.good.merging(more) { $1 }))
    #expect(secure.url == "smtps://[fd00::1]:465" && secure.user == "u" && secure.certificates == "/ca")
  }

  @Test(arguments: [
    ["PLATFORM_SMTP_URL": "mail.lan"], ["PLATFORM_SMTP_URL": "http://mail.lan"], ["PLATFORM_SMTP_URL": "smtp://mail.lan/x"],
    ["PLATFORM_SMTP_URL": "smtp://u@mail.lan"],
    ["PLATFORM_SMTP_FROM": "platform"], ["PLATFORM_SMTP_FROM": ""], ["PLATFORM_SMTP_USER": "u"], ["PLATFORM_SMTP_PASSWORD_FILE": "/p"],
    ["PLATFORM_SMTP_TLS": "maybe"],
  ]) func mistakesOfTheOperatorAreNamed(_ wrong: [String: String]) {
    let error = #expect(throws: PlatformError.self) { try MailSettings(environment: Self.good.merging(wrong) { $1 }) }
    #expect(error?.number == "PLT-4313")
  }

  @Test func textsOfPeopleStayTexts() throws {
    let evil = "nightly\r\nBcc: all@example.com\r\n\r\n.\r\nQUIT\r\n"
    let message = MailMessage(
      id: "1-2", from: "p@example.com", to: "o@example.com", subject: evil + String(repeating: "ü", count: 100), body: evil + ".\r\n", seconds: 1_764_000_000)
    let lines = message.text.components(separatedBy: "\r\n")
    #expect(lines.first == "Date: Mon, 24 Nov 2025 16:00:00 +0000")
    #expect(lines.contains("Message-ID: <1-2@example.com>") && !message.text.contains("Bcc") && !message.text.contains("QUIT"))
    #expect(lines.allSatisfy { $0.utf8.count <= 78 && $0.utf8.allSatisfy { (32...126).contains($0) } }, "\(lines)")
    #expect(lines.filter { $0.isEmpty }.count == 2 && lines.last == "")
    let encoded = lines.drop { !$0.isEmpty }.joined()
    #expect(Data(base64Encoded: encoded).map { String(decoding: $0, as: UTF8.self) } == evil + ".\r\n")
    for (text, isGood) in [
      ("a.b+c@x-y.example", true), ("a@b", true), ("a", false), ("a@", false), ("@b", false), ("a@b@c", false), ("a b@c", false), ("a@b>\r\nX: y", false),
      ("<a@b>", false), ("ü@b", false),
    ] { #expect(MailMessage.isAddress(text) == isGood, "\(text)") }
  }

  @Test func theServerTakesItOrSaysWhyNot() async throws {
    let folder = TemporaryDirectory("password")
    try Data("pass word\n".utf8).write(to: URL(fileURLWithPath: folder.file("password")))
    let server = try MailServer()
    var settings = try #require(
      try MailSettings(environment: [
        "PLATFORM_SMTP_URL": "smtp://127.0.0.1:\(server.port)", "PLATFORM_SMTP_FROM": "p@example.com", "PLATFORM_SMTP_USER": "me",
        "PLATFORM_SMTP_PASSWORD_FILE": folder.file("password"), "PLATFORM_SMTP_TLS": "none",
      ]))
    func send(_ to: String) async throws {
      try await MailClient(settings: settings).send(
        MailMessage(id: "7", from: "p@example.com", to: to, subject: "héllo", body: "it broke\n", seconds: 0))
    }
    try await send("o@example.com")
    let taken = try JSONValue(parsing: try #require(server.taken.first))
    #expect(taken["auth"] == .string("AUTH PLAIN \(Data("\0me\0pass word".utf8).base64EncodedString())") && taken["to"] == "RCPT TO:<o@example.com>")
    let text = taken["text"]?.stringValue ?? ""
    #expect(text.contains("To: <o@example.com>") && text.contains(Data("it broke\n".utf8).base64EncodedString()), "\(text)")

    for (to, isRetryable) in [("nobody@example.com", false), ("busy@example.com", true)] {
      let error = try #require(await #expect(throws: PlatformError.self) { try await send(to) })
      #expect(error.number == "PLT-4314" && error.isRetryable == isRetryable, "\(error)")
    }
    // Without TLS nothing is said when it is required.
    settings.requiresTLS = true
    #expect(try #require(await #expect(throws: PlatformError.self) { try await send("o@example.com") }).isRetryable)
    #expect(server.taken.count == 1)
    settings.url = "smtp://127.0.0.1:1"
    let away = try #require(await #expect(throws: PlatformError.self) { try await send("o@example.com") })
    #expect(away.isRetryable && away.number == "PLT-4314", "\(away)")
  }

  /// The same message over a connection that becomes secure, or is from the start; and to nobody who cannot show who it is.
  @Test(arguments: [MailServer.Security.upgrade, .immediate])
  func secureConnectionsAreThoseOfAServerThatIsTrusted(_ security: MailServer.Security) async throws {
    let server = try MailServer(security)
    let certificate = try #require(server.certificate)
    var settings = try #require(
      try MailSettings(environment: [
        "PLATFORM_SMTP_URL": "\(security == .immediate ? "smtps" : "smtp")://127.0.0.1:\(server.port)", "PLATFORM_SMTP_FROM": "p@example.com",
        "PLATFORM_SMTP_CA": certificate,
      ]))
    func send() async throws {
      try await MailClient(settings: settings).send(
        MailMessage(id: "7", from: "p@example.com", to: "o@example.com", subject: "s", body: "it broke\n", seconds: 0))
    }
    try await send()
    #expect(server.taken.count == 1)
    // The system does not know its certificate.
    settings.certificates = nil
    let unknown = try #require(await #expect(throws: PlatformError.self) { try await send() })
    #expect(unknown.number == "PLT-4314" && unknown.isRetryable && unknown.message.lowercased().contains("certificate"), "\(unknown)")
    // It is another's.
    let other = TemporaryDirectory("other")
    settings.certificates = try SelfSigned.certificate(in: other)
    #expect(try #require(await #expect(throws: PlatformError.self) { try await send() }).number == "PLT-4314", "\(other.path)")
    #expect(server.taken.count == 1)
  }

  /// Nor is a request of a webhook: nothing is sent to a receiver that cannot show who it is.
  @Test func aCertificateThatNobodyTrustsEndsTheRequest() async throws {
    let server = try MailServer(.immediate)
    let client = EgressClient(rules: try EgressRules(environment: [EgressRules.variable: "127.0.0.1"]))
    var request = EgressClient.Call(try EgressURL("https://127.0.0.1:\(server.port)/hook"))
    request.body = Data("secret".utf8)
    let call = request
    let refused = try #require(await #expect(throws: PlatformError.self) { _ = try await client.send(call) })
    #expect(refused.number == "PLT-4309" && refused.message.lowercased().contains("certificate"), "\(refused)")
  }
}
