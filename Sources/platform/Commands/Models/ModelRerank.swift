// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Core
import Inference

extension ModelCommand {
  /// `platform model rerank`: scores of a cross-encoder.
  struct Rerank: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "How well texts fit a question, by a cross-encoder.",
      discussion: """
        The model is an encoder with a classification head of one label. Question and text are joined and cut as its tokenizer says, the activation
        is that of its config.json. The last line of the standard output is a JSON list of scores, in the order of the texts.
        """)
    @Argument(help: ArgumentHelp("Folder of the model.", valueName: "dir")) var directory: String
    @Option(help: "The question.") var query: String
    @Option(help: "File with a JSON list of texts.") var documents: String
    @OptionGroup var compute: ModelComputeOptions

    func run() throws {
      let (threads, precision) = try compute.checked()
      let texts = try ModelFiles.texts(documents)
      let reranker = try Reranker(directory: directory, precision: precision)
      let scores = try reranker.score(queries: [query], documents: texts, threads: threads).scores
      Report.data(JSONValue.array(scores.map { .number(Double($0)) }).sortedText)
    }
  }
}
