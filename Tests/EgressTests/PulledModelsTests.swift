// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Egress

/// What is in the caches of pulled models, and what goes when one is removed.
@Suite struct PulledModelsTests {
  private let folder = TemporaryDirectory("pulled")
  private static let one = String(repeating: "1", count: 40)
  private static let two = String(repeating: "2", count: 40)
  private var models: PulledModels { PulledModels(hub: folder.file("hub"), urls: folder.file("urls")) }

  private func write(_ path: String, _ bytes: Int) throws {
    let path = folder.file(path)
    try FileManager.default.createDirectory(atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    try Data(repeating: 65, count: bytes).write(to: URL(fileURLWithPath: path))
  }
  private func text(_ path: String, _ text: String) throws {
    try write(path, 0)
    try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file(path)))
  }
  private func link(_ path: String, _ target: String) throws {
    let path = folder.file(path)
    try FileManager.default.createDirectory(atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: target)
  }
  private func exists(_ path: String) -> Bool { (try? FileManager.default.attributesOfItem(atPath: folder.file(path))) != nil }

  /// Two revisions that share one blob, a part of a third file, and a file of a URL.
  private func fill() throws {
    let root = "hub/models--org--tiny"
    for (blob, bytes) in [("shared", 100), ("first", 10), ("second", 20)] { try write("\(root)/blobs/\(blob)", bytes) }
    try link("\(root)/snapshots/\(Self.one)/model.safetensors", "../../blobs/shared")
    try link("\(root)/snapshots/\(Self.one)/1_Pooling/config.json", "../../../blobs/first")
    try link("\(root)/snapshots/\(Self.two)/model.safetensors", "../../blobs/shared")
    try link("\(root)/snapshots/\(Self.two)/config.json", "../../blobs/second")
    try link("\(root)/snapshots/\(Self.two)/gone.json", "../../blobs/none")
    try text("\(root)/refs/main", Self.two)
    try text("\(root)/refs/v2/x", Self.one)
    try write("\(root)/blobs/third.incomplete", 7)
    try write("urls/0123456789abcdef/model.gguf", 50)
    try write("urls/0123456789abcdef/model.gguf.etag", 3)
    try text("urls/0123456789abcdef/model.gguf.url", "https://host/a/model.gguf")
    try write("urls/fedcba9876543210/other.gguf.incomplete", 5)
    try write("urls/fedcba9876543210/other.gguf.etag.incomplete", 3)
  }

  @Test func whatIsThereIsListed() throws {
    #expect(models.all().isEmpty)
    try fill()
    // Not models of the hub.
    for name in ["models--", "models--a--b--c", "datasets--org--x", ".locks", "models--..--x", "version.txt"] { try write("hub/\(name)/blobs/x", 1) }
    let all = models.all()
    #expect(all.map(\.reference) == ["hf:org/tiny@v2/x", "hf:org/tiny", "https://host/a/model.gguf", "other.gguf"])
    #expect(all.map(\.sizeBytes) == [110, 120, 50, 0] && all.map(\.partialBytes) == [7, 7, 0, 5])
    #expect(all[1].missing == ["gone.json"] && all[1].commit == Self.two && all[1].files.map(\.name) == ["config.json", "gone.json", "model.safetensors"])
    #expect(all[0].files.map(\.name) == ["1_Pooling/config.json", "model.safetensors"])
    #expect(all[2].path == folder.file("urls/0123456789abcdef/model.gguf") && all[3].path == nil)
  }

  @Test func namesMeanWhatTheySay() throws {
    try fill()
    func names(_ text: String) throws -> [String] { try models.named(text).map(\.reference) }
    for text in ["hf:org/tiny", "org/tiny"] { #expect(try names(text) == ["hf:org/tiny@v2/x", "hf:org/tiny"]) }
    for text in ["hf:org/tiny@main", "org/tiny@\(Self.two)"] { #expect(try names(text) == ["hf:org/tiny"]) }
    for text in ["hf:org/tiny@v2/x", "org/tiny@1111111"] { #expect(try names(text) == ["hf:org/tiny@v2/x"]) }
    #expect(try names("org/tiny@111111").isEmpty)
    for text in ["model.gguf", "https://host/a/model.gguf?token=x", folder.file("urls/0123456789abcdef/model.gguf")] {
      #expect(try names(text) == ["https://host/a/model.gguf"], "\(text)")
    }
    for text in ["hf:org/other", "hf:org/tiny@v3", "https://host/other", "/etc/passwd", folder.path, "tiny"] { #expect(try names(text).isEmpty, "\(text)") }
    for text in ["hf:../..", "../../etc", "hf:org/..", "hf:org/tiny@../../x", "org/tiny/x", "", "hf:", "a b", ".."] {
      #expect(throws: PlatformError.self, "\(text)") { try models.named(text) }
    }
  }

  @Test func aRevisionGoesWithoutWhatAnotherOneUses() throws {
    try fill()
    let removal = models.removal(of: try models.named("hf:org/tiny@v2/x"))
    #expect(removal.sharedBlobs == 1 && removal.bytes >= 10 && removal.foreign.isEmpty)
    try models.remove(removal)
    let root = "hub/models--org--tiny"
    #expect(exists("\(root)/blobs/shared") && exists("\(root)/blobs/second") && !exists("\(root)/blobs/first") && exists("\(root)/blobs/third.incomplete"))
    #expect(!exists("\(root)/refs/v2") && exists("\(root)/refs/main") && !exists("\(root)/snapshots/\(Self.one)"))
    #expect(models.all().map(\.reference) == ["hf:org/tiny", "https://host/a/model.gguf", "other.gguf"])

    let parts = models.removalOfPartials(try models.named("hf:org/tiny"))
    #expect(parts.bytes == 7)
    // Somebody fetches it.
    let descriptor = open(folder.file("\(root)/blobs/third.incomplete"), O_RDWR)
    #expect(flock(descriptor, LOCK_EX | LOCK_NB) == 0)
    for removal in [parts, models.removal(of: try models.named("org/tiny"))] {
      #expect { try models.remove(removal) } throws: { ($0 as? PlatformError)?.number == "PLT-5226" }
    }
    #expect(exists("\(root)/refs/main") && exists("\(root)/blobs/third.incomplete"))
    close(descriptor)
    try models.remove(parts)
    #expect(!exists("\(root)/blobs/third.incomplete") && exists("\(root)/blobs/second"))

    try models.remove(models.removal(of: try models.named("org/tiny")))
    #expect(!exists(root) && exists("hub"))
    for name in ["model.gguf", "other.gguf"] { try models.remove(models.removal(of: try models.named(name))) }
    #expect(models.all().isEmpty && PulledModels.entries(folder.file("urls")).isEmpty)
  }

  @Test func linksOutOfTheCacheAreNotFollowed() throws {
    try write("precious/blobs/file", 9)
    let root = "hub/models--org--tiny"
    try text("\(root)/refs/main", Self.one)
    try text("\(root)/refs/other", Self.two)
    for commit in [Self.one, Self.two] { try write("\(root)/snapshots/\(commit)/config.json", 2) }
    try write("\(root)/blobs/file", 4)
    try link("\(root)/snapshots/\(Self.one)/a", "../../../../precious/blobs/file")
    try link("\(root)/snapshots/\(Self.one)/b", folder.file("precious/blobs/file"))
    try link("\(root)/snapshots/\(Self.one)/c", "../../../../precious")
    try models.remove(models.removal(of: try models.named("org/tiny@main")))
    // The blob of the same name is not what the link led to.
    #expect(exists("precious/blobs/file") && exists("\(root)/blobs/file") && !exists("\(root)/snapshots/\(Self.one)"))
    try models.remove(models.removal(of: try models.named("org/tiny")))
    #expect(exists("precious/blobs/file") && !exists(root))

    try write("elsewhere/snapshots/\(Self.one)/config.json", 2)
    try link("hub/models--org--linked", folder.file("elsewhere"))
    let linked = try models.named("org/linked")
    #expect(linked.count == 1)
    #expect { try models.remove(models.removal(of: linked)) } throws: { ($0 as? PlatformError)?.number == "PLT-4542" }
    #expect(exists("elsewhere/snapshots/\(Self.one)/config.json"))
  }

  @Test(.enabled(if: geteuid() == 0, "only root can give files away")) func whatIsAnotherUsersIsTold() throws {
    try fill()
    let blob = folder.file("hub/models--org--tiny/blobs/second")
    #expect(chown(blob, 12_345, 12_345) == 0)
    #expect(models.removal(of: try models.named("hf:org/tiny@main")).foreign == [blob])
    #expect(models.removal(of: try models.named("hf:org/tiny")).foreign == [blob])
    #expect(models.removal(of: try models.named("hf:org/tiny@v2/x")).foreign.isEmpty)
  }

  @Test func bytesAreHeldAgainstTheirHashes() throws {
    let root = "hub/models--org--tiny"
    let content = Data("hello".utf8)
    var git = GitBlobDigest(size: 5)
    content.withUnsafeBytes { git.update($0) }
    let names = [SHA256Digest.hex(content), git.finish().hexadecimal, "etag"]
    for (index, name) in names.enumerated() {
      try text("\(root)/blobs/\(name)", "hello")
      try link("\(root)/snapshots/\(Self.one)/f\(index)", "../../blobs/\(name)")
    }
    func verified() throws -> (checked: Int, broken: [String]) { try #require(try models.named("org/tiny").first).verify() }
    #expect(try verified().checked == 2 && verified().broken.isEmpty)
    for name in names { try text("\(root)/blobs/\(name)", "hellO") }
    #expect(try verified().checked == 2 && verified().broken == ["f0", "f1"])
  }
}
