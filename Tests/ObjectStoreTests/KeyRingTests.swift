// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@testable import ObjectStore

/// Which store a location is in, and which keys open it.
@Suite struct KeyRingTests {
  static func keys(_ place: String) -> StorageKeys { StorageKeys(place: place, accessKey: "key of \(place)", secretKey: "a secret") }

  @Test func theInnermostPlaceCounts() {
    let ring = KeyRing([Self.keys("s3://lake"), Self.keys("s3://lake/a/b"), Self.keys("s3://lake/a")])
    for (location, place) in [
      ("s3://lake/x", "s3://lake"), ("s3://lake", "s3://lake"), ("s3://lake/a/x", "s3://lake/a"), ("s3://lake/a/b", "s3://lake/a/b"),
      ("s3://lake/a/b/c", "s3://lake/a/b"), ("s3://lake/a/bc", "s3://lake/a"), ("s3://lake/ab", "s3://lake"),
    ] {
      #expect(ring.keys(of: location)?.place == place, "\(location)")
    }
    #expect(ring.keys(of: "s3://lakes/a") == nil && ring.keys(of: "/lake") == nil)
    ring.replace([])
    #expect(ring.isEmpty && ring.keys(of: "s3://lake") == nil)
  }

  @Test func workGetsTheKeysOfItsPlacesOnly() {
    let ring = KeyRing([Self.keys("s3://lake/a"), Self.keys("s3://lake/b"), Self.keys("s3://lake/c")])
    let work: JSONValue = [
      "sql": "SELECT 's3://lake/c/x'", "parameters": ["s3://lake/c/x", ["name": "s3://lake/c/x"]],
      "tables": [["scan": ["files": [["path": "s3://lake/a/t/1.parquet", "partitionValues": ["s3://lake/c/x"]], ["path": "/lake/c"]]]]],
      "outputDirectory": "s3://lake/b/t",
    ]
    #expect(ring.keys(neededBy: work).map(\.place) == ["s3://lake/a", "s3://lake/b"])
    #expect(ring.keys(neededBy: ["path": "/lake/a"]).isEmpty && KeyRing().keys(neededBy: work).isEmpty)
  }

  @Test func keysAreNotPrinted() {
    let keys = Self.keys("s3://lake")
    for text in ["\(keys)", String(reflecting: keys), "\([keys])"] { #expect(!text.contains("secret") && !text.contains("key of")) }
    var dumped = ""
    dump(keys, to: &dumped)
    #expect(!dumped.contains("a secret"))
  }

  @Test func theLocationChoosesTheStore() throws {
    let environment = ["AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"]
    func open(_ location: String, _ ring: KeyRing = KeyRing()) throws -> (store: any ObjectStorage, path: ObjectPath) {
      try ObjectStores.open(location, keys: ring, environment: environment, home: "/nowhere")
    }
    let local = try open("/data/lake/t")
    #expect(local.store is LocalObjectStore && local.path.text == "t")
    let remote = try open("s3://lake/a/t/")
    #expect(remote.store is S3ObjectStore && remote.path.text == "a/t")
    // The same keys: the same store. Other keys see other things.
    let (one, same) = (try open("s3://lake/b").store as? S3ObjectStore, try open("s3://lake/c").store as? S3ObjectStore)
    #expect(one != nil && one === same)
    #expect(try open("s3://lake/b", KeyRing([Self.keys("s3://lake")])).store as? S3ObjectStore !== one)
    for bad in ["", "t", "./t", "s3://", "s3://lake", "s3://LAKE/t", "s3://lake/../x", "http://lake/t"] {
      #expect(throws: PlatformError.self, "\(bad)") { try open(bad) }
    }
    // Without keys of any kind it is said where they were looked for.
    let error = #expect(throws: PlatformError.self) { try ObjectStores.open("s3://lake/a", keys: KeyRing(), environment: [:], home: "/nowhere") }
    #expect(error?.number == "PLT-3401")
  }
}
