// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Query
import TestSupport
import Testing

@testable import Coordinator

/// Which objects of a bucket are a source: the same ones that folders of the same shape would give.
@Suite struct SourceListingTests {
  private static let names = [
    "a.csv", "b.json", ".hidden.csv", "_tmp/x.csv", "day=1/a.csv", "day=1/deep/b.csv", "day=2/c.csv", "day=2/_SUCCESS", "x/y/z/d.csv", "e\u{301}t\u{e9}.csv",
  ]

  @Test(arguments: [
    "", "*.csv", "day=*/*.csv", "**", "**/*.csv", "day=1", "day=?", "{a,b}.*", "x/*", "x/**/d.csv", "*/*/*/*", "day=[12]/*", "nothing*",
  ])
  func globsMeanTheSameInBucketsAndFolders(pattern: String) throws {
    let folder = TemporaryDirectory("listing")
    for name in Self.names {
      let path = folder.path + "/" + name
      try FileManager.default.createDirectory(atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
      try Data("x".utf8).write(to: URL(fileURLWithPath: path))
    }
    let patterns = pattern.isEmpty ? [] : pattern.split(separator: "/").map(String.init)
    for isRecursive in [true, false] {
      let options = try FileOptions(["recursiveFileLookup": "\(isRecursive)"], format: .csv)
      let walked = try SourceListing.list(.init(folder: folder.path, shown: "/f", patterns: patterns), options).map { String($0.file.name.dropFirst(3)) }
      let chosen = Self.names.filter { SourceListing.accepts(PathText.components($0), patterns[...], isRecursive: isRecursive) }
      #expect(chosen.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) } == walked, "\(pattern) \(isRecursive)")
    }
  }

  @Test(.enabled(if: MotoServer.isThere, "no peer environment")) func bucketsAreListedFromAName() throws {
    let server = try MotoServer.shared()
    let bucket = "listing-\(UUID().uuidString.lowercased().prefix(13))"
    _ = try Peers.run(
      """
      import boto3, sys
      c = boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
      c.create_bucket(Bucket=sys.argv[2])
      for n in range(30): c.put_object(Bucket=sys.argv[2], Key="in/f%02d.csv" % n, Body=b"a\\n1\\n")
      c.put_object(Bucket=sys.argv[2], Key="in/_work/x.csv", Body=b"")
      c.put_object(Bucket=sys.argv[2], Key="inside.csv", Body=b"a\\n")
      """, [server.endpoint, bucket])
    let place = "s3://\(bucket)"
    let keys = StorageKeys(place: place, accessKey: "a", secretKey: "b", sessionToken: nil, endpoint: server.endpoint, region: "us-east-1")
    KeyRing.shared.replace([keys])
    defer { KeyRing.shared.replace([]) }
    let options = try FileOptions([:], format: .csv)
    func list(_ folder: String, _ patterns: [String] = [], after last: String? = nil) throws -> [String] {
      try SourceListing.list(.init(folder: folder, shown: folder, patterns: patterns), options, after: last).map { $0.file.name }
    }
    let all = try list(place + "/in")
    #expect(all.count == 30 && all.first == place + "/in/f00.csv" && all.last == place + "/in/f29.csv")
    #expect(try list(place + "/in", ["f1*.csv"]).count == 10)
    #expect(try list(place + "/in", after: place + "/in/f27.csv") == [place + "/in/f28.csv", place + "/in/f29.csv"])
    #expect(try list(place + "/in/f03.csv") == [place + "/in/f03.csv"])
    #expect(try list(place).count == 31)
    #expect { try SourceListing.list(.init(folder: place + "/in", shown: place, patterns: []), options, limit: 5) } throws: {
      ($0 as? PlatformError)?.number == "PLT-3117"
    }
    let one = try SourceListing.list(.init(folder: place + "/in", shown: place, patterns: ["f05.csv"]), options)
    #expect(one.first?.file.tag?.isEmpty == false && one.first?.file.sizeBytes == 4)
  }
}
