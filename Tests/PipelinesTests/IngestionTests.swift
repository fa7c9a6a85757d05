// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Query
import TestSupport
import Testing

@testable import Pipelines

@Suite struct IngestionTests {
  static func put(_ folder: TemporaryDirectory, _ name: String, _ data: Data) throws {
    let url = URL(fileURLWithPath: folder.file(name))
    try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try data.write(to: url)
  }

  /// gzip with one stored block (RFC 1951, 3.2.4), so that the test needs no compressor.
  static func stored(_ text: String) -> Data {
    let bytes = Array(text.utf8)
    var crc: UInt32 = ~0
    for byte in bytes {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1 }
    }
    crc = ~crc
    let length = UInt16(bytes.count)
    func little(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32($0 * 8)) } }
    return Data(
      [
        0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 1, UInt8(length & 255), UInt8(length >> 8), UInt8(~length & 255),
        UInt8(~length >> 8),
      ] + bytes
        + little(crc) + little(UInt32(bytes.count)))
  }

  static func tree() throws -> TemporaryDirectory {
    let folder = TemporaryDirectory("ingest")
    try put(folder, "a/README", Data("Plain text.\n".utf8))
    try put(folder, "a/guide.md", Data("# Title\n\nText with ü.\n".utf8))
    try put(
      folder, "a/page.html",
      Data(
        "<html><head><title>A &amp; B</title><script>var x='<p>no</p>'</script></head><body><p>One<br>two</p></body></html>"
          .utf8))
    try put(folder, "a/tool.1.gz", stored(".TH TOOL 1\n.SH NAME\ntool \\- does \\fBthings\\fR\n"))
    try put(folder, "a/binary.txt", Data([0x4D, 0x5A, 0, 0, 1, 2]))
    try put(folder, "a/latin.txt", Data([0xE4, 0xF6, 0xFC, 0x20, 0xDF]))
    try put(folder, "a/mostly.txt", Data(Array(String(repeating: "good text ", count: 50).utf8) + [0xFF]))
    try put(folder, "a/empty.txt", Data())
    try put(folder, "a/blank.txt", Data(" \n\n".utf8))
    try put(folder, "a/damaged.txt.gz", stored("hello").dropLast(9))
    try put(folder, "a/picture.png", Data([1, 2, 3]))
    try put(folder, "b/huge.txt", Data(String(repeating: "word ", count: 1_048_576).utf8))
    try put(folder, "b/bomb.txt.gz", stored(String(repeating: "z", count: 60_000)))
    try FileManager.default.createSymbolicLink(atPath: folder.file("b/loop"), withDestinationPath: folder.path)
    try FileManager.default.createSymbolicLink(atPath: folder.file("b/out.txt"), withDestinationPath: "/etc/hostname")
    try FileManager.default.linkItem(atPath: folder.file("a/README"), toPath: folder.file("b/README"))
    mkfifo(folder.file("b/pipe.txt"), 0o600)
    return folder
  }

  @Test func everyKindOfFileIsReadOrExplained() throws {
    let folder = try Self.tree()
    var configuration = IngestConfiguration()
    configuration.directories = [folder.path]
    configuration.textBytes = 0
    let plan = try IngestPlan.make(configuration)
    #expect(plan.skipped["symbolic links"] == 2)
    #expect(plan.skipped["hard link of another file"] == 1)
    #expect(plan.skipped["empty files"] == 1)
    #expect(plan.skipped["files of other types"] == 1)
    #expect(plan.skipped["devices, sockets and pipes"] == 1)
    let all = plan.shards.flatMap { $0 }.sorted { $0.path < $1.path }
    #expect(all.count == plan.files && plan.files == 11)
    try FileManager.default.removeItem(atPath: folder.file("a/guide.md"))
    let files = MemoryFiles()
    let shard = IngestShard(files: all, maximumFileBytes: 6 << 20, documentsPath: "d", quarantinePath: "q", readAt: 7)
    let result = try shard.run(context: QuietContext(), files: files)
    #expect(result.quarantined == ["binary": 1, "not UTF-8": 1, "no text": 1, "damaged gzip": 1, "unreadable": 1])
    #expect(result.documentCount == 6 && result.documents?.rows == 6 && result.quarantine?.rows == 5)
    let documents = try #require(files.all("d"))
    let contents = Dictionary(
      uniqueKeysWithValues: zip(
        try documents.text("path").map { ($0 as NSString).lastPathComponent }, try documents.text("content")))
    #expect(contents["page.html"] == "A & B\n\nOne\ntwo\n\n")
    #expect(contents["tool.1.gz"] == "TOOL(1)\n\nNAME\ntool - does things\n")
    #expect(contents["huge.txt"]?.utf8.count == 5 << 20)
    #expect(contents["mostly.txt"]?.hasSuffix("\u{FFFD}") == true)
    #expect(try documents.text("sha256")[0] == SHA256Digest.hex("Plain text.\n"))
    // The same shard with a smaller limit: what is too large goes to quarantine, packed or not.
    var small = shard
    small.maximumFileBytes = 50_000
    #expect(try small.run(context: QuietContext(), files: files).quarantined["too large"] == 2)
  }

  @Test func sampleDependsOnSeedAndPathsOnly() throws {
    let folder = TemporaryDirectory("sample")
    for index in 0..<60 {
      try Self.put(folder, "d\(index % 7)/f\(index).txt", Data(String(repeating: "x", count: 100).utf8))
    }
    var configuration = IngestConfiguration()
    configuration.directories = [folder.path]
    configuration.textBytes = 2000
    configuration.shardBytes = 500
    let plan = try IngestPlan.make(configuration)
    #expect(plan.files == 20 && plan.estimatedBytes == 2000 && plan.shards.count == 4)
    #expect(try IngestPlan.make(configuration) == plan)
    configuration.directories = (0..<7).reversed().map { folder.file("d\($0)") }
    #expect(try IngestPlan.make(configuration).shards == plan.shards)
    configuration.seed = 2
    #expect(try IngestPlan.make(configuration).shards != plan.shards)
    #expect(throws: CancellationError.self) {
      for index in 60..<1200 { try Self.put(folder, "e/f\(index).txt", Data("x".utf8)) }
      configuration.directories = [folder.path]
      _ = try IngestPlan.make(configuration, isCancelled: { true })
    }
  }

  @Test func directoryWithoutDocumentsIsExplained() throws {
    let folder = TemporaryDirectory("nothing")
    try Self.put(folder, "x.png", Data([1]))
    try Self.put(folder, "y.txt", Data())
    var configuration = IngestConfiguration()
    configuration.directories = [folder.path]
    do {
      _ = try IngestPlan.make(configuration)
      Issue.record("accepted")
    } catch let error as PlatformError {
      #expect(error.code == .invalidArgument && error.number == "PLT-3101")
      #expect(error.message.contains(folder.path) && error.message.contains("1 empty files, 1 files of other types"))
    }
    for bad in ["/no/such/directory", "relative", folder.file("x.png")] {
      configuration.directories = [bad]
      #expect(throws: PlatformError.self) { try IngestPlan.make(configuration) }
    }
  }

  @Test(arguments: [
    ("<p>a<p>b", "a\n\nb"), ("a &lt;b&gt; &#65;&#x42; &unknown; &", "a <b> AB &unknown; &"), ("x <!-- <p> --> y", "x y"),
    ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
    ("<style>p{}</style>t<script>", "t"), ("<a title='>'>link</a>", "link"), ("<pre>a\n  b</pre>", "a\n  b"),
    ("<ul><li>x<li>y</ul>", "- x\n- y"), ("<", "<"), ("</", "</"),
    ("<b", "<b"), ("<!--", ""), ("a<br/>b", "a\nb"), ("<SCRIPT>x</SCRIPT>y", "y"), ("&#xD800;&#0;", "\u{FFFD}&#0;"),
    ("<td>1<td>2", " 1 2"),
  ]) func htmlBecomesText(_ html: String, _ text: String) {
    #expect(
      HTMLText.extract(Array(html.utf8)).trimmingCharacters(in: .whitespacesAndNewlines)
        == text.trimmingCharacters(in: .whitespacesAndNewlines))
  }

  @Test(arguments: [
    (".B bold text\n.BR foo (1)\nnext", "bold text foo(1) next\n"), (".\\\" comment\ntext\\\" more", "text\n"),
    ("\\(lqx\\(rq \\[em] \\e \\-\\-flag \\*(Tm", "“x” — \\ --flag ™\n"),
    (".de XX\nhidden\n..\nshown", "shown\n"), (".nf\na  b\nc\n.fi\nd\ne", "a  b\nc\nd e\n"),
    (".IP \"the mark\" 4\ntext", "the mark text\n"), (".if n \\{\nx\n.\\}\ny", "y\n"),
    (".Nm ls\n.Nd list\n.Op Fl a\n.Xr cat 1", "ls - list -a cat(1)\n"), ("\\s-1SMALL\\s0 \\fIit\\fP", "SMALL it\n"),
    (".SH A \"B C\"\nx\n.PP\ny", "A B C\nx\n\ny\n"), ("\\", ""),
  ]) func manualPagesBecomeText(_ roff: String, _ text: String) {
    #expect(ManualPageText.extract(roff) == text)
  }

  @Test func hostileMarkupTakesLinearTime() {
    let clock = ContinuousClock()
    for unit in ["<", "<a ", "<!--", "<a '", "&", "</script", "<script>", "<a \">"] {
      let html = [UInt8](String(repeating: unit, count: 100_000 / unit.utf8.count).utf8)
      #expect(clock.measure { _ = HTMLText.extract(html) } < .seconds(30), "\(unit)")
    }
  }
}
