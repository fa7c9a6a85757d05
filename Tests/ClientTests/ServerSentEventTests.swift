// SPDX-License-Identifier: Apache-2.0

import Client
import Testing

@Suite struct ServerSentEventTests {
  @Test func eventsArePutTogetherFromPiecesOfAnySize() {
    let text = "event: a\ndata: one\ndata: two\n\ndata:three\r\n\r\n: comment\n\nevent: lost\n\ndata: last\n\n"
    for size in [1, 2, 7, 1000] {
      var parser = ServerSentEventParser()
      var events: [ServerSentEventParser.Event] = []
      let bytes = Array(text.utf8)
      for start in stride(from: 0, to: bytes.count, by: size) {
        events += parser.feed(bytes[start..<min(bytes.count, start + size)]) ?? []
      }
      #expect(events.map(\.name) == ["a", "message", "message"])
      #expect(events.map(\.data) == ["one\ntwo", "three", "last"])
    }
  }

  @Test func anEndlessLineIsRefused() {
    var parser = ServerSentEventParser()
    #expect(parser.feed([UInt8](repeating: 65, count: ServerSentEventParser.lineLimit + 1)) == nil)
  }
}
