// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation
public import Tensor

/// Pretraining by one rank of a gang.
public enum TrainRank {
  /// Trains until the configured number of steps, from the newest valid checkpoint on. Synchronous: call it on a thread of its
  /// own. Every rank of `collective` calls it with the same configuration and files.
  /// - Throws: `invalidArgument` for a configuration or data that does not fit, `conflict` for a checkpoint of another run,
  ///   `internalError` naming the step when loss or gradient is not finite, `CancellationError`.
  public static func run(_ shard: TrainRankShard, collective: any Collective, context: any WorkContext) throws -> TrainResult {
    let c = shard.configuration
    guard shard.rank == collective.rank, shard.world == collective.worldSize, c.tensorParallel == collective.worldSize else {
      throw PlatformError(
        .invalidArgument,
        "rank \(shard.rank) of \(shard.world) with tensorParallel \(c.tensorParallel) was given a collective of \(collective.worldSize)"
      )
    }
    let decoder = try TrainableDecoder(c, collective: collective)
    let optimizer = AdamW(decoder.parameters)
    let trainFiles = try open(shard.trainFiles, c)
    var source = try BatchSource(trainFiles, length: c.sequenceLength, seed: c.seed)
    let store = CheckpointStore(
      directory: shard.checkpointDirectory, configuration: c, data: try digest(shard.trainFiles),
      tokenizer: trainFiles.first?.tokenizerSHA256 ?? "", collective: collective, log: context.log)
    var losses: [TrainResult.Point] = []
    var step = 0
    if let restored = try store.restore(optimizer) {
      (step, losses) = restored
      context.log("continuing after step \(step)")
    }
    let firstStep = step
    let every = max(1, c.steps / 500)
    var batch = [Int32](repeating: 0, count: c.rowsPerStep * (c.sequenceLength + 1))
    var loss = losses.last?.loss ?? .nan
    var trainSeconds = 0.0
    while step < c.steps {
      try context.checkCancelled()
      let began = DispatchTime.now().uptimeNanoseconds
      source.fill(step: step, rows: c.rowsPerStep, &batch)
      decoder.parameters.zeroGradients()
      loss = try decoder.loss(batch, rows: c.rowsPerStep, length: c.sequenceLength, train: true).mean
      guard loss.isFinite else { throw notFinite("loss", step + 1) }
      let norm = try optimizer.gradientNorm(collective)
      guard norm.isFinite else { throw notFinite("gradient norm", step + 1) }
      let rate = c.learningRate(at: step)
      step += 1
      optimizer.update(step: step, learningRate: rate, gradientNorm: norm, c)
      let seconds = Double(DispatchTime.now().uptimeNanoseconds - began) / 1e9
      trainSeconds += seconds
      if step % every == 0 || step == c.steps { losses.append(.init(step: step, loss: loss)) }
      if collective.rank == 0 {
        context.metric("loss", step: Int64(step), value: loss)
        context.metric("lr", step: Int64(step), value: rate)
        context.metric("grad_norm", step: Int64(step), value: Double(norm))
        context.metric("tokens_per_second", step: Int64(step), value: Double(c.batchTokens) / seconds)
        context.progress(done: Int64(step), total: Int64(c.steps), unit: "steps")
      }
      if c.checkpointEvery > 0, step % c.checkpointEvery == 0 || step == c.steps {
        try store.save(step: step, seed: c.seed, losses: losses, optimizer)
        // The scheduler knows this name: what waits for a checkpoint to move or stop the gang does so now.
        if collective.rank == 0, step < c.steps { context.metric("checkpoint", step: Int64(step), value: Double(step)) }
      }
    }
    var validation: CrossEntropy?
    if !shard.testFiles.isEmpty && c.validationRows > 0 {
      let test = try BatchSource(try open(shard.testFiles, c), length: c.sequenceLength, seed: c.seed)
      validation = try Perplexity.measure(decoder, test, rows: c.validationRows, context: context)
      if collective.rank == 0, let validation {
        context.metric("validation_loss", step: Int64(step), value: validation.mean)
      }
    }
    let files = try ModelWriter.write(
      decoder.parameters,
      model: c.modelConfiguration(bos: trainFiles.first?.beginning.map(Int.init), eos: trainFiles.first?.end.map(Int.init)),
      tokenizerDirectory: shard.tokenizerDirectory, collective: collective, to: shard.outputDirectory)
    return TrainResult(
      finalLoss: loss, steps: step, tokens: step * c.batchTokens,
      tokensPerSecond: trainSeconds > 0 ? Double((step - firstStep) * c.batchTokens) / trainSeconds : 0,
      validationLoss: validation?.mean, validationTokens: validation?.count ?? 0, losses: losses,
      modelDirectory: shard.outputDirectory, files: files)
  }

  private static func open(_ paths: [String], _ c: TrainingConfiguration) throws -> [TokenShardFile] {
    let files = try paths.map { try TokenShardFile(path: $0) }
    for file in files {
      guard file.vocabularySize <= c.vocabularySize, file.tokenizerSHA256 == files[0].tokenizerSHA256 else {
        throw PlatformError(
          .invalidArgument, "the token file has \(file.vocabularySize) tokens or another tokenizer than the first file",
          path: file.path)
      }
    }
    return files
  }

  /// One digest for the training data, in order.
  private static func digest(_ paths: [String]) throws -> String {
    SHA256Digest.hex(try paths.map { try SHA256Digest.hex(contentsOf: $0) }.joined(separator: "\n"))
  }

  private static func notFinite(_ what: String, _ step: Int) -> PlatformError {
    PlatformError(
      .internalError, "the \(what) of step \(step) is not finite; no weight was changed by it",
      hint: "Lower learningRate or raise warmupSteps; the last checkpoint is intact.")
  }
}
