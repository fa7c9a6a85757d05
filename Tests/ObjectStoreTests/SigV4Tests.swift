// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import ObjectStore

/// Amazon's own examples: "Signature Calculations for the Authorization Header" and "Using Query Parameters" of the S3 API
/// reference, and the aws-sig-v4-test-suite.
@Suite struct SigV4Tests {
  static let s3 = SigV4(
    credentials: S3Credentials(accessKey: "AKIAIOSFODNN7EXAMPLE", secretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), region: "us-east-1")
  static let host = ("host", "examplebucket.s3.amazonaws.com")
  static let may24: Int64 = 1_369_353_600  // 2013-05-24T00:00:00Z

  func signature(_ headers: [(name: String, value: String)]) -> String? {
    headers.first { $0.name == "authorization" }?.value.split(separator: "=").last.map(String.init)
  }

  @Test func examplesOfTheReference() {
    let cases: [(SigV4.Request, String, String)] = [
      (
        SigV4.Request(method: "GET", path: "/test.txt", headers: [Self.host, ("Range", "bytes=0-9")]), SigV4.emptyPayload,
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
      ),
      (
        SigV4.Request(
          method: "PUT", path: "/" + SigV4.encode("test$file.text"),
          headers: [Self.host, ("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")]),
        SHA256Digest.hex("Welcome to Amazon S3."), "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
      ),
      (
        SigV4.Request(method: "GET", path: "/", query: [("lifecycle", "")], headers: [Self.host]), SigV4.emptyPayload,
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
      ),
      (
        SigV4.Request(method: "GET", path: "/", query: [("prefix", "J"), ("max-keys", "2")], headers: [Self.host]), SigV4.emptyPayload,
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
      ),
    ]
    for (request, hash, expected) in cases {
      #expect(signature(Self.s3.headers(request, payloadHash: hash, seconds: Self.may24)) == expected, "\(request.method) \(request.path)")
    }
    let url = Self.s3.presigned(SigV4.Request(method: "GET", path: "/test.txt", headers: [Self.host]), lifetime: 86400, seconds: Self.may24)
    #expect(url.last?.value == "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")
  }

  @Test func casesOfTheTestSuite() {
    let signer = SigV4(
      credentials: S3Credentials(accessKey: "AKIDEXAMPLE", secretKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), region: "us-east-1", service: "service")
    let host = ("Host", "example.amazonaws.com")
    let cases: [(String, SigV4.Request, String)] = [
      ("get-vanilla", SigV4.Request(method: "GET", path: "/", headers: [host]), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
      ("post-vanilla", SigV4.Request(method: "POST", path: "/", headers: [host]), "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
      (
        "get-vanilla-query-order-key-case", SigV4.Request(method: "GET", path: "/", query: [("Param2", "value2"), ("Param1", "value1")], headers: [host]),
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
      ),
    ]
    for (name, request, expected) in cases {
      #expect(signature(signer.headers(request, payloadHash: SigV4.emptyPayload, seconds: 1_440_938_160)) == expected, "\(name)")
    }
  }

  @Test func codesOfRFC4231() {
    #expect(
      HMACSHA256.code(key: [UInt8](repeating: 0x0b, count: 20), message: "Hi There".utf8).hexadecimal
        == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
    #expect(
      HMACSHA256.code(key: "Jefe".utf8, message: "what do ya want for nothing?".utf8).hexadecimal
        == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    #expect(
      HMACSHA256.code(key: [UInt8](repeating: 0xaa, count: 131), message: "Test Using Larger Than Block-Size Key - Hash Key First".utf8).hexadecimal
        == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
    #expect(HMACSHA256.code(key: [], message: []).hexadecimal == "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad")
    #expect(HMACSHA256.isEqual([1, 2], [1, 2]) && !HMACSHA256.isEqual([1, 2], [1, 3]) && !HMACSHA256.isEqual([1], [1, 2]))
  }

  /// Random requests, signed by us and by botocore.
  @Test(.enabled(if: MotoServer.isThere, "no peer environment")) func signsAsBotocoreDoes() throws {
    var random = SplitMix64(seed: 11)
    let letters = Array("abcXYZ019 -._~/+%&=?#éß日😀'()!*$,;:@")
    func word(_ count: Int) -> String { String((0..<Int.random(in: 1...count, using: &random)).map { _ in letters.randomElement(using: &random)! }) }
    var requests: [JSONValue] = []
    var expected: [String] = []
    for index in 0..<60 {
      let token = index % 3 == 0 ? "token/\(index)+=" : nil
      let signer = SigV4(credentials: S3Credentials(accessKey: "AKID", secretKey: "se/cret+", sessionToken: token), region: "eu-west-3")
      let key = word(20).split(separator: "/").joined(separator: "/")
      let path = "/" + SigV4.encode(key.isEmpty ? "k" : key, keepsSlashes: true)
      let query = (0..<Int.random(in: 0...3, using: &random)).map { ("q\($0)" + word(3).replacingOccurrences(of: " ", with: ""), word(8)) }
      let hash = SHA256Digest.hex("body \(index)")
      let request = SigV4.Request(
        method: ["GET", "PUT", "DELETE"][index % 3], path: path, query: query, headers: [("host", "b.example.com"), ("x-amz-meta-a", "1  2")])
      let headers = signer.headers(request, payloadHash: hash, seconds: Self.may24)
      expected.append(try #require(headers.first { $0.name == "authorization" }?.value))
      requests.append([
        "method": .string(request.method), "url": .string("https://b.example.com\(path)?\(SigV4.query(query))"), "hash": .string(hash),
        "token": token.map { .string($0) } ?? .null,
      ])
    }
    let script = """
      import json, sys, datetime
      import botocore.auth, botocore.awsrequest, botocore.credentials
      moment = datetime.datetime(2013, 5, 24, tzinfo=datetime.timezone.utc)
      if hasattr(botocore.auth, "get_current_datetime"):
          botocore.auth.get_current_datetime = lambda *a, **k: moment.replace(tzinfo=None)
      for r in json.loads(sys.argv[1]):
          c = botocore.credentials.Credentials("AKID", "se/cret+", r["token"])
          q = botocore.awsrequest.AWSRequest(method=r["method"], url=r["url"], headers={"x-amz-meta-a": "1  2", "X-Amz-Content-SHA256": r["hash"]})
          a = botocore.auth.S3SigV4Auth(c, "s3", "eu-west-3")
          a.payload = lambda request, h=r["hash"]: h
          a._should_sha256_sign_payload = lambda request: True
          a.add_auth(q)
          print(q.headers["Authorization"])
      """
    let text = try Peers.run(script, [JSONValue.array(requests).sortedText])
    func parts(_ line: Substring) -> String { line.replacingOccurrences(of: ", ", with: ",") }
    let theirs = text.split(separator: "\n").map(parts)
    #expect(theirs == expected.map { parts($0[...]) })
  }

  @Test func momentsAreRead() {
    #expect(SigV4.timestamp(Self.may24) == "20130524T000000Z")
    #expect(S3Time.milliseconds(iso: "2013-05-24T00:00:00.000Z") == Self.may24 * 1000)
    #expect(S3Time.milliseconds(iso: "2013-05-24T00:00:00.5Z") == Self.may24 * 1000 + 500)
    #expect(S3Time.milliseconds(http: "Fri, 24 May 2013 00:00:00 GMT") == Self.may24 * 1000)
    for text in ["", "x", "2013-13-24T00:00:00Z", "2013-05-24 00:00:00", "Fri, 24 Xxx 2013 00:00:00 GMT", "Fri, 24 May 2013 GMT a b"] {
      #expect(S3Time.milliseconds(iso: text) == nil && S3Time.milliseconds(http: text) == nil)
    }
  }
}
