// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import ObjectStore

@Suite struct ReadOnlyPlacesTests {
  @Test func placesAndWhatLiesInThem() throws {
    let folder = TemporaryDirectory("readonly")
    try FileManager.default.createDirectory(atPath: folder.path + "/closed", withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(atPath: folder.path + "/link", withDestinationPath: folder.path + "/closed")
    let places = ReadOnlyPlaces([.init(url: "file://" + folder.path + "/closed", location: "raw"), .init(url: "s3://lake/a", location: "far")])
    for place in ["closed", "closed/", "closed/t", "closed/none/at/all", "link/t", "link"] {
      #expect(places.refusal(of: folder.path + "/" + place)?.number == "PLT-3261", "\(place)")
      #expect(places.refusal(of: "file://" + folder.path + "/" + place)?.message.contains("'raw'") == true, "\(place)")
    }
    for place in ["", "closer", "closed2/t", "open/closed"] { #expect(places.refusal(of: folder.path + "/" + place) == nil, "\(place)") }
    for place in ["s3://lake/a", "s3://lake/a/", "S3A://lake/a/t"] { #expect(places.refusal(of: place) != nil, "\(place)") }
    for place in ["s3://lake", "s3://lake/ab", "s3://lake2/a", "/lake/a"] { #expect(places.refusal(of: place) == nil, "\(place)") }
    places.replace([])
    #expect(places.refusal(of: folder.path + "/closed") == nil)
  }

  @Test func storesBelowThemAreReadAndNotWritten() throws {
    let folder = TemporaryDirectory("readonly")
    try FileManager.default.createDirectory(atPath: folder.path + "/closed/t", withIntermediateDirectories: true)
    let places = ReadOnlyPlaces([.init(url: folder.path + "/closed", location: "raw")])
    let (open, name) = try ObjectStores.open(folder.path + "/closed/t", readOnly: ReadOnlyPlaces())
    let path = try name.appending("x")
    try open.put(path, Data("1".utf8))
    let (store, _) = try ObjectStores.open(folder.path + "/closed/t", readOnly: places)
    #expect(try store.get(path) == Data("1".utf8))
    #expect(try store.get(path, range: 0..<1) == Data("1".utf8))
    #expect(try store.list(name).count == 1 && store.list(name, after: path).isEmpty && store.head(path)?.size == 1)
    #expect(try store.download(path, to: folder.path + "/copy") == 1)
    let writes: [() throws -> Void] = [
      { try store.put(path, Data()) }, { try store.putIfAbsent(path, Data()) }, { try store.delete(path) },
      { _ = try store.upload(file: folder.path + "/copy", to: path) },
    ]
    for write in writes { #expect { try write() } throws: { ($0 as? PlatformError)?.number == "PLT-3261" } }
    #expect(try open.get(path) == Data("1".utf8))
  }
}
