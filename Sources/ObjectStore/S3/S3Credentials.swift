// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation

/// Keys for S3. Printing one shows the access key's first letters only.
public struct S3Credentials: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  public var accessKey: String
  public var secretKey: String
  /// Of temporary credentials.
  public var sessionToken: String?

  public init(accessKey: String, secretKey: String, sessionToken: String? = nil) {
    self.accessKey = accessKey
    self.secretKey = secretKey
    self.sessionToken = sessionToken
  }

  public var description: String { "S3Credentials(\(accessKey.prefix(4))...)" }
  public var debugDescription: String { description }
  public var customMirror: Mirror { Mirror(self, children: ["accessKey": "\(accessKey.prefix(4))..."]) }

  /// From `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`; or the section `AWS_PROFILE` (`default`) of the
  /// file `AWS_SHARED_CREDENTIALS_FILE` (`~/.aws/credentials`).
  /// - Throws: `badConfiguration` (PLT-3401) saying where it looked.
  public static func resolve(
    environment: [String: String] = ProcessInfo.processInfo.environment, home: String = NSHomeDirectory()
  ) throws -> S3Credentials {
    func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    if let access = value("AWS_ACCESS_KEY_ID"), let secret = value("AWS_SECRET_ACCESS_KEY") {
      return S3Credentials(accessKey: access, secretKey: secret, sessionToken: value("AWS_SESSION_TOKEN"))
    }
    let file = value("AWS_SHARED_CREDENTIALS_FILE") ?? home + "/.aws/credentials"
    let profile = value("AWS_PROFILE") ?? "default"
    if let handle = FileHandle(forReadingAtPath: file) {
      defer { try? handle.close() }  // only read
      let data = (try? handle.read(upToCount: 1 << 20)) ?? nil  // what cannot be read is reported below as absent
      if let data, let found = parse(String(decoding: data, as: UTF8.self), profile: profile) { return found }
    }
    throw PlatformError(
      .badConfiguration, "there are no credentials for S3: neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, nor a profile '\(profile)' in \(file)",
      hint: "Set them where the coordinator and the workers start, or give the catalog a storage credential.", number: "PLT-3401")
  }

  /// One section of a shared credentials file.
  static func parse(_ text: String, profile: String) -> S3Credentials? {
    var isWanted = false
    var values: [String: String] = [:]
    for line in text.split(whereSeparator: \.isNewline) {
      let line = line.trimmingCharacters(in: .whitespaces)
      if line.isEmpty || line.hasPrefix("#") || line.hasPrefix(";") { continue }
      if line.hasPrefix("["), line.hasSuffix("]") {
        isWanted = line.dropFirst().dropLast().trimmingCharacters(in: .whitespaces) == profile
      } else if isWanted, let equals = line.firstIndex(of: "=") {
        values[line[..<equals].trimmingCharacters(in: .whitespaces).lowercased()] = line[line.index(after: equals)...].trimmingCharacters(in: .whitespaces)
      }
    }
    guard let access = values["aws_access_key_id"], let secret = values["aws_secret_access_key"], !access.isEmpty, !secret.isEmpty else { return nil }
    return S3Credentials(accessKey: access, secretKey: secret, sessionToken: values["aws_session_token"])
  }
}
