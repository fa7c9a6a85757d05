// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// AWS Signature Version 4 (docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html). Pure: the time comes in.
public struct SigV4: Sendable {
  public var credentials: S3Credentials
  public var region: String
  public var service: String

  public init(credentials: S3Credentials, region: String, service: String = "s3") {
    self.credentials = credentials
    self.region = region
    self.service = service
  }

  /// A request as it is signed.
  public struct Request: Sendable {
    public var method: String
    /// Percent-encoded once, beginning with a slash.
    public var path: String
    /// Names and values as they are, not encoded.
    public var query: [(name: String, value: String)]
    /// Names in any case. All of them are signed; `host` must be among them.
    public var headers: [(name: String, value: String)]

    public init(method: String, path: String, query: [(name: String, value: String)] = [], headers: [(name: String, value: String)]) {
      self.method = method
      self.path = path
      self.query = query
      self.headers = headers
    }
  }

  public static let unsignedPayload = "UNSIGNED-PAYLOAD"
  public static let emptyPayload = SHA256Digest.hex(Data())

  /// The headers to add: `x-amz-date`, `x-amz-content-sha256` (for S3), `x-amz-security-token` and `authorization`.
  /// - Parameters:
  ///   - payloadHash: lower-case SHA-256 of the body, or `unsignedPayload`.
  ///   - seconds: since 1970.
  public func headers(_ request: Request, payloadHash: String, seconds: Int64) -> [(name: String, value: String)] {
    let time = Self.timestamp(seconds)
    var added: [(name: String, value: String)] = [("x-amz-date", time)]
    if service == "s3" { added.append(("x-amz-content-sha256", payloadHash)) }
    if let token = credentials.sessionToken { added.append(("x-amz-security-token", token)) }
    var signed = request
    signed.headers += added
    let (canonical, names) = Self.canonical(signed, payloadHash: payloadHash)
    let signature = signature(of: canonical, time: time)
    added.append(
      (
        "authorization",
        "AWS4-HMAC-SHA256 Credential=\(credentials.accessKey)/\(scope(time)), SignedHeaders=\(names), Signature=\(signature)"
      ))
    return added
  }

  /// Query items that make a URL good for `lifetime` seconds without headers ("presigned").
  /// - Parameter request: the headers that whoever uses the URL will send, `host` at least.
  public func presigned(_ request: Request, lifetime: Int, seconds: Int64) -> [(name: String, value: String)] {
    let time = Self.timestamp(seconds)
    var signed = request
    let names = Set(request.headers.map { $0.name.lowercased() }).sorted().joined(separator: ";")
    signed.query += [
      ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), ("X-Amz-Credential", "\(credentials.accessKey)/\(scope(time))"), ("X-Amz-Date", time),
      ("X-Amz-Expires", String(lifetime)), ("X-Amz-SignedHeaders", names),
    ]
    if let token = credentials.sessionToken { signed.query.append(("X-Amz-Security-Token", token)) }
    let (canonical, _) = Self.canonical(signed, payloadHash: Self.unsignedPayload)
    return signed.query + [("X-Amz-Signature", signature(of: canonical, time: time))]
  }

  private func scope(_ time: String) -> String { "\(time.prefix(8))/\(region)/\(service)/aws4_request" }

  private func signature(of canonical: String, time: String) -> String {
    let text = "AWS4-HMAC-SHA256\n\(time)\n\(scope(time))\n\(SHA256Digest.hex(canonical))"
    var key = Array("AWS4\(credentials.secretKey)".utf8)
    for part in [String(time.prefix(8)), region, service, "aws4_request"] { key = HMACSHA256.code(key: key, message: part.utf8) }
    return HMACSHA256.code(key: key, message: text.utf8).hexadecimal
  }

  static func canonical(_ request: Request, payloadHash: String) -> (text: String, signedHeaders: String) {
    var headers: [String: [String]] = [:]
    for header in request.headers {
      // Runs of spaces count as one.
      let value = header.value.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
      headers[header.name.lowercased(), default: []].append(value)
    }
    let names = headers.keys.sorted()
    let lines = names.map { "\($0):\(headers[$0]!.joined(separator: ","))\n" }.joined()
    let signed = names.joined(separator: ";")
    return ("\(request.method)\n\(request.path)\n\(query(request.query))\n\(lines)\n\(signed)\n\(payloadHash)", signed)
  }

  /// The canonical query, which is also the one that is sent.
  static func query(_ items: [(name: String, value: String)]) -> String {
    items.map { (encode($0.name), encode($0.value)) }.sorted { $0 < $1 }.map { "\($0)=\($1)" }.joined(separator: "&")
  }

  private static let unreserved: [Bool] = {
    var table = [Bool](repeating: false, count: 256)
    for byte in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~".utf8 { table[Int(byte)] = true }
    return table
  }()

  /// Percent-encodes all bytes but RFC 3986's unreserved ones.
  public static func encode(_ text: String, keepsSlashes: Bool = false) -> String {
    var out: [UInt8] = []
    out.reserveCapacity(text.utf8.count)
    for byte in text.utf8 {
      if unreserved[Int(byte)] || (keepsSlashes && byte == UInt8(ascii: "/")) {
        out.append(byte)
      } else {
        out.append(UInt8(ascii: "%"))
        out.append(contentsOf: [byte].hexadecimal.uppercased().utf8)
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// `20130524T000000Z`.
  public static func timestamp(_ seconds: Int64) -> String {
    var time = time_t(seconds)
    var parts = tm()
    gmtime_r(&time, &parts)
    func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
    let year = String(parts.tm_year + 1900)
    return String(repeating: "0", count: max(0, 4 - year.count)) + year + two(parts.tm_mon + 1) + two(parts.tm_mday) + "T" + two(parts.tm_hour)
      + two(parts.tm_min) + two(parts.tm_sec) + "Z"
  }
}
