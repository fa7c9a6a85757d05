// SPDX-License-Identifier: Apache-2.0

/// Benchmarks that share their preparation. `run` prepares, checks that both sides agree, and hands out one comparison after another.
struct Group: Sendable {
  typealias Report = (Comparison) async throws -> Void

  var name: String
  var about: String
  var run: @Sendable (Setup, Report) async throws -> Void

  static let all: [Group] = [
    Group(name: "encoder", about: "sentence vectors of 256 passages, against torch with transformers", run: EncoderGroup.run),
    Group(name: "tokenizer", about: "WordPiece, byte pairs, their trainer and unigrams, against tokenizers and sentencepiece", run: TokenizerGroup.run),
    Group(name: "delta", about: "commit, open and scan a Delta table, against deltalake; SQL against duckdb", run: DeltaGroup.run),
    Group(name: "log", about: "open Delta tables of 10,000 commits, and append single rows, against deltalake", run: DeltaLogGroup.run),
    Group(name: "tables", about: "statements on a large Delta table, against deltalake and duckdb", run: LargeTableGroup.run),
    Group(name: "scheduling", about: "tasks through a cluster of processes with Postgres, against ray", run: SchedulingGroup.run),
    Group(name: "runs", about: "pages of the list of 100,000 runs (no peer)", run: RunListGroup.run),
    Group(name: "workers", about: "200 simulated workers and 100,000 parts in the queue (no peer)", run: SimulatedWorkers.run),
    Group(name: "faults", about: "how soon a worker that was killed or frozen is missed (no peer)", run: FaultGroup.run),
    Group(name: "decode", about: "greedy generation with a random Llama, against transformers", run: DecodeGroup.run),
    Group(name: "engine", about: "models of 8 and 4 bits, one and many requests, against llama.cpp; prompts against torch in bf16", run: EngineGroup.run),
    Group(name: "sentences", about: "MiniLM with 8 bits, against sentence-transformers and ONNX Runtime", run: SentenceGroup.run),
    Group(name: "serving", about: "an answer of one token over HTTP (no peer)", run: ServingGroup.run),
    Group(name: "training", about: "a training step of a small Llama, against torch", run: TrainingGroup.run),
    Group(name: "vectors", about: "building and searching an HNSW graph, against hnswlib", run: VectorGroup.run),
    Group(name: "reduce", about: "sums over two processes, against torch.distributed with gloo", run: ReduceGroup.run),
  ]
}
