// SPDX-License-Identifier: Apache-2.0

import CMail
public import Core
import Foundation

/// How the operator's mail server is reached.
public struct MailSettings: Sendable, Equatable {
  /// `smtp://HOST:PORT`, or `smtps://HOST:PORT` for a connection that is secure from the start.
  public var url: String
  /// Whether an `smtp` connection must become secure (STARTTLS) before anything is said.
  public var requiresTLS = true
  /// File with the certificates that are trusted; nil: the system's.
  public var certificates: String?
  public var user: String?
  /// Read at each message: it may be replaced while the coordinator runs. A file, because the environment of a process is seen by more than it.
  public var passwordFile: String?
  public var from: String

  /// The coordinator's settings; nil when no mail server is named.
  /// - Throws: `badConfiguration` PLT-4313.
  public init?(environment: [String: String]) throws(PlatformError) {
    func bad(_ name: String, _ text: String, _ hint: String) -> PlatformError {
      PlatformError(.badConfiguration, "\(name): \(text)", hint: hint, number: "PLT-4313")
    }
    func given(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    guard let text = given("PLATFORM_SMTP_URL") else { return nil }
    let isSecure = text.hasPrefix("smtps://")
    let hint = "For example smtp://mail.lan:587, or smtps://mail.lan:465."
    guard isSecure || text.hasPrefix("smtp://") else { throw bad("PLATFORM_SMTP_URL", "'\(text.prefix(60))' is no URL of a mail server", hint) }
    // The same rules for host and port; the operator's own server may be anywhere.
    guard let parts = try? EgressURL("http" + text.dropFirst(isSecure ? 5 : 4)), parts.target == "/" else {
      throw bad("PLATFORM_SMTP_URL", "'\(text.prefix(60))' is no URL of a mail server", hint)
    }
    url = text
    switch given("PLATFORM_SMTP_TLS") ?? "required" {
    case "required": requiresTLS = true
    case "none": requiresTLS = false
    case let other: throw bad("PLATFORM_SMTP_TLS", "'\(other.prefix(20))' is not possible", "Use required (the default) or none.")
    }
    certificates = given("PLATFORM_SMTP_CA")
    user = given("PLATFORM_SMTP_USER")
    passwordFile = given("PLATFORM_SMTP_PASSWORD_FILE")
    guard (user == nil) == (passwordFile == nil) else {
      throw bad("PLATFORM_SMTP_USER", "a user needs a password, and a password a user", "Set PLATFORM_SMTP_PASSWORD_FILE too.")
    }
    guard let sender = given("PLATFORM_SMTP_FROM"), MailMessage.isAddress(sender) else {
      throw bad("PLATFORM_SMTP_FROM", "the sender's address is missing or none", "For example platform@example.com.")
    }
    from = sender
  }
}

/// A message of plain text. A value; `text` is what goes over the wire.
public struct MailMessage: Sendable, Equatable {
  public var id: String
  public var from: String
  public var to: String
  public var subject: String
  public var body: String
  /// Seconds since 1970.
  public var seconds: Int64

  public init(id: String, from: String, to: String, subject: String, body: String, seconds: Int64) {
    self.id = id
    self.from = from
    self.to = to
    self.subject = subject
    self.body = body
    self.seconds = seconds
  }

  /// The plain form `name@host.name` in ASCII: nothing in it can be more than an address.
  public static func isAddress(_ text: String) -> Bool {
    let parts = text.split(separator: "@", omittingEmptySubsequences: false)
    guard text.utf8.count <= 254, parts.count == 2, !parts[0].isEmpty, parts[0].utf8.count <= 64, !parts[1].isEmpty else { return false }
    func isGood(_ part: Substring, _ others: String) -> Bool {
      part.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || others.utf8.contains($0) }
    }
    return isGood(parts[0], ".!#$%&'*+/=?^_`{|}~-") && isGood(parts[1], ".-")
  }

  /// RFC 5322 with everything that is not ASCII encoded: no text of people can begin a header or end the message.
  public var text: String {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.timeZone = TimeZone(secondsFromGMT: 0)
    formatter.dateFormat = "EEE, dd MMM yyyy HH:mm:ss '+0000'"
    let host = from.split(separator: "@").last ?? "platform"
    return [
      "Date: \(formatter.string(from: Date(timeIntervalSince1970: Double(seconds))))", "From: <\(from)>", "To: <\(to)>",
      "Message-ID: <\(id)@\(host)>", "Subject: \(Self.encodedWords(subject))", "Auto-Submitted: auto-generated", "MIME-Version: 1.0",
      "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64", "",
      Data(body.utf8).base64EncodedString(options: [.lineLength76Characters, .endLineWithCarriageReturn, .endLineWithLineFeed]), "",
    ].joined(separator: "\r\n")
  }

  /// RFC 2047, in words that leave room for the header's name in a line of 76 characters.
  static func encodedWords(_ text: String) -> String {
    var words: [String] = []
    var piece: [UInt8] = []
    func close() {
      if !piece.isEmpty { words.append("=?UTF-8?B?\(Data(piece).base64EncodedString())?=") }
      piece = []
    }
    for scalar in text.unicodeScalars.prefix(200) {
      let bytes = Array(String(scalar).utf8)
      if piece.count + bytes.count > 39 { close() }
      piece += bytes
    }
    close()
    return words.joined(separator: "\r\n ")
  }
}

/// Sends mail through the operator's server with the system's libcurl, which `curl` brings along.
public struct MailClient: Sendable {
  public let settings: MailSettings
  private static let threads = BlockingPool(name: "mail", threads: 2, queueLimit: 256)
  static let patience = 20_000

  public init(settings: MailSettings) { self.settings = settings }

  /// - Throws: `unavailable` PLT-4314 when the server did not take it, `invalidArgument` when it refuses for good.
  public func send(_ message: MailMessage) async throws { try await Self.threads.run { try deliver(message) } }

  private func deliver(_ message: MailMessage) throws {
    var password: String?
    if let path = settings.passwordFile {
      guard let data = FileManager.default.contents(atPath: path), data.count <= 4096 else {
        throw PlatformError(.unavailable, "the mail server's password cannot be read", hint: "See PLATFORM_SMTP_PASSWORD_FILE.", number: "PLT-4314")
      }
      password = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }
    var response = 0
    var words = [CChar](repeating: 0, count: 256)
    let text = Array(message.text.utf8CString)
    let code = Self.withTexts([settings.url, settings.user, password, settings.certificates, message.from, message.to]) { texts in
      text.withUnsafeBufferPointer { body in
        var mail = pm_mail(
          url: texts[0], user: texts[1], password: texts[2], requires_tls: settings.requiresTLS ? 1 : 0, certificates: texts[3], from: texts[4],
          to: texts[5], message: body.baseAddress, length: body.count - 1, timeout_ms: Self.patience)
        return pm_send(&mail, &response, &words, words.count)
      }
    }
    if code == Int32(PM_SENT) { return }
    if code == Int32(PM_NO_LIBRARY) {
      throw PlatformError(
        .unavailable, "there is no library on the coordinator's machine that sends mail", hint: "Install libcurl4.", number: "PLT-4314")
    }
    let said = String(decoding: words.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    // What the server refuses with 5xx at an address it will refuse again; signing in may be mended.
    let isFinal = (500..<600).contains(response) && ![530, 534, 535, 538].contains(response)
    throw PlatformError(
      isFinal ? .invalidArgument : .unavailable,
      "the mail server did not take the message: \(said.prefix(200))\(response == 0 ? "" : " (it answered \(response))")", number: "PLT-4314")
  }

  /// Texts for C, nil staying nil, for as long as `body` takes.
  private static func withTexts<T>(_ texts: [String?], _ body: ([UnsafePointer<CChar>?]) -> T) -> T {
    let copies = texts.map { $0.map { strdup($0) } }
    defer { for copy in copies { free(copy ?? nil) } }
    return body(copies.map { copy in copy.flatMap { UnsafePointer($0) } })
  }
}
