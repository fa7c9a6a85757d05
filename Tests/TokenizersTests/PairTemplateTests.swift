// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Tokenizers

@Suite struct PairTemplateTests {
  /// The numbers of `tokenizers`' `truncate_encodings` for `LongestFirst`; `RerankerPeerTests` compares whole pairs.
  @Test(arguments: [
    ((3, 4), 10, (3, 4)), ((3, 20), 10, (3, 7)), ((20, 3), 10, (7, 3)), ((20, 30), 10, (5, 5)), ((30, 20), 11, (6, 5)), ((20, 30), 11, (5, 6)),
    ((4, 30), 9, (4, 5)), ((0, 30), 9, (0, 9)), ((5, 5), 0, (0, 0)), ((1, 1), 1, (0, 1)),
  ])
  func whatIsTooLongIsCut(texts: (Int, Int), room: Int, kept: (Int, Int)) {
    #expect(PairTemplate.kept(texts.0, texts.1, of: room) == kept)
  }

  @Test func piecesHaveTheirTypes() throws {
    var template = PairTemplate()
    #expect(template.join([1, 2], [3], maximumLength: 9) == ([1, 2, 3], [0, 0, 1]))
    template.pieces = [.token(9, type: 0), .first(type: 0), .token(8, type: 0), .second(type: 1), .token(8, type: 1)]
    #expect(template.join([1, 2], [3, 4, 5], maximumLength: 7) == ([9, 1, 2, 8, 3, 4, 8], [0, 0, 0, 0, 1, 1, 1]))
  }
}
