// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation

/// Where notifications go: all of it is secret, a receiver's URL often holds its key.
public struct WebhookSettings: Codable, Sendable, Equatable {
  public var url: String
  public var username: String?
  public var password: String?
  /// What the signatures are made with: `whsec_` and base64, as in Standard Webhooks.
  public var signingSecret: String

  public static let secretPrefix = "whsec_"

  /// What a client gave, over what there was. Empty texts remove.
  /// - Throws: `invalidArgument` PLT-4311.
  public init(_ config: JSONValue?, over old: WebhookSettings? = nil, freshSecret: @autoclosure () -> [UInt8]) throws(PlatformError) {
    func bad(_ text: String, _ hint: String = "") -> PlatformError { PlatformError(.invalidArgument, text, hint: hint, number: "PLT-4311") }
    let kinds = (config?.objectValue ?? [:]).filter { $0.value != .null }.keys.sorted()
    guard kinds.count <= 1 else { throw bad("config: \(kinds.joined(separator: " and ")) are both given", "A destination is one of them.") }
    if let other = kinds.first, other != "generic_webhook" {
      throw bad("config: '\(other.prefix(40))' is not built", "Built: generic_webhook.")
    }
    let given: JSONValue? = config?["generic_webhook"] ?? (old == nil ? nil : .object([:]))
    guard let members = given?.objectValue else {
      throw bad("config: 'generic_webhook' is missing", "For example { generic_webhook: { url: https://example.com/hook } }.")
    }
    func text(_ name: String) throws(PlatformError) -> String? {
      guard let value = members[name], value != .null else { return nil }
      guard let text = value.stringValue, text.utf8.count <= 2048, !text.contains("\0") else {
        throw bad("config.generic_webhook.\(name): must be a text of at most 2048 characters")
      }
      return text
    }
    for name in members.keys.sorted() where !["url", "username", "password", "signing_secret", "url_set", "username_set", "password_set"].contains(name) {
      throw bad("config.generic_webhook: unknown key '\(name.prefix(40))'", "Known here: url, username, password, signing_secret.")
    }
    guard let url = try text("url") ?? old?.url, !url.isEmpty else { throw bad("config.generic_webhook: 'url' is missing") }
    self.url = url
    username = (try text("username") ?? old?.username).flatMap { $0.isEmpty ? nil : $0 }
    password = (try text("password") ?? old?.password).flatMap { $0.isEmpty ? nil : $0 }
    if let username, username.contains(":") { throw bad("config.generic_webhook.username: must not hold ':'") }
    if password != nil, username == nil { throw bad("config.generic_webhook: a password needs a username") }
    signingSecret = try text("signing_secret") ?? old?.signingSecret ?? Self.secretPrefix + Data(freshSecret()).base64EncodedString()
    guard let key = Self.key(of: signingSecret), (24...64).contains(key.count) else {
      throw bad("config.generic_webhook.signing_secret: must be whsec_ and base64 of 24 to 64 bytes", "Leave it out: one is made.")
    }
  }

  static func key(of secret: String) -> [UInt8]? {
    guard secret.hasPrefix(secretPrefix) else { return nil }
    return Data(base64Encoded: String(secret.dropFirst(secretPrefix.count))).map { [UInt8]($0) }
  }

  /// What it may show of itself.
  public var shown: JSONValue {
    [
      "generic_webhook": [
        "url_set": true, "username_set": .bool(username != nil), "password_set": .bool(password != nil), "signing_secret_set": true,
      ]
    ]
  }

  // MARK: requests

  /// What a request carries beside its body: its name for receivers that drop repetitions, and the proof of where it comes from, as the
  /// Standard Webhooks specification has them (webhook-id, webhook-timestamp, webhook-signature over "ID.TIMESTAMP.BODY").
  public func headers(id: String, seconds: Int64, body: String) -> [(name: String, value: String)] {
    let code = HMACSHA256.code(key: Self.key(of: signingSecret) ?? [], message: "\(id).\(seconds).\(body)".utf8)
    var headers = [
      ("content-type", "application/json"), ("webhook-id", id), ("webhook-timestamp", String(seconds)),
      ("webhook-signature", "v1,\(Data(code).base64EncodedString())"),
    ]
    if let username { headers.append(("authorization", "Basic \(Data("\(username):\(password ?? "")".utf8).base64EncodedString())")) }
    return headers
  }
}

/// A destination as lists show it.
public struct NotificationDestination: Sendable, Equatable {
  public var id: String
  public var name: String
  /// Databricks' word, as in `WEBHOOK`.
  public var type: String
}
