// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Tokenizers

/// The unmodified `tokenizers` package reads what `UnigramTrainer` writes, and its own trainer makes nothing much better of the same text.
@Suite(.enabled(if: Peers.python != nil, "no peer environment"), .timeLimit(.minutes(5))) struct UnigramPeerTests {
  private static let script = #"""
    import json, sys
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    folder, lines, size = sys.argv[1], json.load(open(sys.argv[2])), int(sys.argv[3])
    ours = Tokenizer.from_file(folder + "/tokenizer.json")
    theirs = Tokenizer(models.Unigram())
    theirs.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    theirs.train_from_iterator(lines["train"], trainers.UnigramTrainer(
        vocab_size=size - 256, special_tokens=["<unk>", "<|endoftext|>"], unk_token="<unk>", show_progress=False))
    print(json.dumps({
        "ids": [ours.encode(x).ids for x in lines["texts"]], "decoded": [ours.decode(ours.encode(x).ids, skip_special_tokens=False) for x in lines["texts"]],
        "theirs": sum(len(theirs.encode(x).ids) for x in lines["held"])}))
    """#

  @Test func itReadsWhatWeWriteAndTrainsNothingMuchBetter() throws {
    let folder = TemporaryDirectory("unigrampeer")
    let docs = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent(
      "docs")
    let lines = try ["models.md", "sql.md", "operations.md", "jobs.md"].flatMap { name in
      try String(contentsOf: docs.appendingPathComponent(name), encoding: .utf8).split(separator: "\n").map { String($0) }
    }
    let train = lines.enumerated().filter { $0.offset % 4 != 0 }.map(\.element)
    let held = lines.enumerated().filter { $0.offset % 4 == 0 }.map(\.element)
    let size = 1500
    var counts = WordCounts()
    for line in train { counts.addSpaced(line) }
    let trained = try UnigramTrainer(vocabularySize: size).train(counts)
    #expect(trained.vocabularySize == size)
    try trained.write(to: folder.path)
    let tokenizer = try TokenizerFile.open(folder.path)
    let odd = [
      "", " ", "  two  spaces ", "tab\tnewline\n\nend", "naïve café", "日本語の文章", "😀👩‍👩‍👧 emoji", "\u{1}\u{7F}\u{FFFD}", "<0x41><unk><|endoftext|>", "▁marked ▁",
      "Ünïcödé\u{301}",
      "العربية", String(repeating: "x", count: 300),
    ]
    let texts = Array(held.prefix(320)) + odd
    try JSONValue.object([
      "train": .array(train.map { .string($0) }), "held": .array(held.map { .string($0) }), "texts": .array(texts.map { .string($0) }),
    ]).sortedText.write(toFile: folder.file("lines.json"), atomically: true, encoding: .utf8)
    let said = try JSONValue(parsing: try Peers.run(Self.script, [folder.path, folder.file("lines.json"), "\(size)"]))
    let ids = try #require(said["ids"]?.arrayValue)
    let decoded = try #require(said["decoded"]?.arrayValue)
    for (index, text) in texts.enumerated() {
      let own = tokenizer.encode(text)
      #expect(ids[index].arrayValue?.compactMap(\.intValue) == own.map { Int($0) }, "\(text)")
      #expect(decoded[index].stringValue == tokenizer.decode(own, skipSpecialTokens: false), "\(text)")
    }
    let own = held.reduce(0) { $0 + tokenizer.encode($1).count }
    let theirs = try #require(said["theirs"]?.intValue)
    // Measured: 0.98 of theirs. Both have as many entries for text.
    #expect(Double(own) < 1.02 * Double(theirs), "\(own) tokens, theirs are \(theirs)")
  }
}
