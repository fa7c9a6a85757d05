// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation

/// How to reach a bucket.
public struct S3Configuration: Sendable {
  public var bucket: String
  public var region: String
  /// `https://host[:port]` of a store that speaks S3; nil is Amazon's.
  public var endpoint: String?
  /// The bucket in the path (`https://host/bucket/..`) instead of the host's name. The default for other endpoints than
  /// Amazon's, and for buckets with dots, which no certificate fits.
  public var usesPathStyle: Bool
  /// Plain http is refused for other machines than this one unless this is set: the data, though not the keys, could be read by others.
  public var allowsPlainHTTP = false
  public var credentials: S3Credentials
  /// Bodies are hashed into the signature. Without it only TLS protects them.
  public var signsPayload = true
  /// For one request.
  public var requestTimeout: Duration = .seconds(30)
  /// For one operation with all its repetitions. Transfers get a second more for each MiB.
  public var operationTimeout: Duration = .seconds(90)
  /// Requests for one operation, the first included.
  public var attempts = 6
  public var backoff = Backoff(firstMilliseconds: 50, limitMilliseconds: 5_000)
  /// Objects above this size are written in parts of it, and read to files in pieces of it. At least 5 MiB for Amazon.
  public var partSize = 16 << 20
  /// Parts under way at the same time.
  public var parallelParts = 4

  public init(
    bucket: String, region: String = "us-east-1", endpoint: String? = nil, usesPathStyle: Bool? = nil, credentials: S3Credentials
  ) {
    self.bucket = bucket
    self.region = region
    self.endpoint = endpoint
    self.usesPathStyle = usesPathStyle ?? (endpoint != nil || bucket.contains("."))
    self.credentials = credentials
  }

  /// Region and endpoint from `PLATFORM_S3_REGION`, `PLATFORM_S3_ENDPOINT`, `PLATFORM_S3_PATH_STYLE` and
  /// `PLATFORM_S3_ALLOW_HTTP`, or from `AWS_REGION`, `AWS_DEFAULT_REGION`, `AWS_ENDPOINT_URL_S3` and `AWS_ENDPOINT_URL`.
  /// - Parameter credentials: nil: `S3Credentials.resolve`.
  public init(
    bucket: String, environment: [String: String] = ProcessInfo.processInfo.environment, home: String = NSHomeDirectory(),
    credentials: S3Credentials? = nil
  ) throws {
    func value(_ names: String...) -> String? { names.lazy.compactMap { environment[$0] }.first { !$0.isEmpty } }
    func flag(_ name: String) throws -> Bool? {
      guard let text = value(name) else { return nil }
      switch text.lowercased() {
      case "1", "true", "yes", "on": return true
      case "0", "false", "no", "off": return false
      default: throw PlatformError(.badConfiguration, "\(name) is neither true nor false", number: "PLT-3402")
      }
    }
    self.init(
      bucket: bucket, region: value("PLATFORM_S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION") ?? "us-east-1",
      endpoint: value("PLATFORM_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), usesPathStyle: try flag("PLATFORM_S3_PATH_STYLE"),
      credentials: try credentials ?? S3Credentials.resolve(environment: environment, home: home))
    allowsPlainHTTP = try flag("PLATFORM_S3_ALLOW_HTTP") ?? false
  }
}

/// Scheme, host and port that requests go to, and how a bucket stands in them. Checked once.
struct S3Endpoint: Sendable {
  var scheme: String
  /// With the port where it is not the scheme's own: the Host header.
  var authority: String
  /// In front of an object's name: empty, or `/bucket`.
  var pathPrefix: String

  /// - Throws: `badConfiguration` (PLT-3402).
  init(_ configuration: S3Configuration) throws {
    func wrong(_ text: String) -> PlatformError {
      PlatformError(.badConfiguration, text, hint: "Write the endpoint like https://host:port.", number: "PLT-3402")
    }
    guard S3Location.isBucket(configuration.bucket) else {
      throw PlatformError(.invalidArgument, "'\(configuration.bucket.prefix(100))' is not a name of a bucket")
    }
    let isRegion =
      configuration.region.utf8.count <= 40 && !configuration.region.isEmpty
      && configuration.region.utf8.allSatisfy { $0 == UInt8(ascii: "-") || ($0 < 128 && Character(UnicodeScalar($0)).isLetter) || ($0 >= 48 && $0 <= 57) }
    guard isRegion else { throw wrong("'\(configuration.region.prefix(60))' is not a region") }
    let amazon = "https://s3.\(configuration.region).amazonaws.com"
    guard let url = URLComponents(string: configuration.endpoint ?? amazon), let scheme = url.scheme?.lowercased(), let host = url.host, !host.isEmpty,
      url.user == nil, url.password == nil, url.query == nil, url.fragment == nil, url.path.isEmpty || url.path == "/"
    else { throw wrong("the S3 endpoint is no plain URL") }
    guard scheme == "https" || scheme == "http" else { throw wrong("the S3 endpoint has the scheme '\(scheme.prefix(20))'") }
    if scheme == "http", !Self.isLoopback(host), !configuration.allowsPlainHTTP {
      throw PlatformError(
        .badConfiguration, "the S3 endpoint \(host) is spoken to without encryption", hint: "Use https, or set PLATFORM_S3_ALLOW_HTTP=true.",
        number: "PLT-3402")
    }
    self.scheme = scheme
    let port = url.port.map { $0 == (scheme == "https" ? 443 : 80) ? "" : ":\($0)" } ?? ""
    authority = (configuration.usesPathStyle ? host : "\(configuration.bucket).\(host)") + port
    pathPrefix = configuration.usesPathStyle ? "/" + configuration.bucket : ""
  }

  static func isLoopback(_ host: String) -> Bool {
    let plain = host.trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
    if plain == "localhost" || plain == "::1" { return true }
    let parts = plain.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
  }
}
