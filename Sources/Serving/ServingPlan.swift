// SPDX-License-Identifier: Apache-2.0

/// How a model is best laid out over some nodes, predicted from what was measured on them: a value without input or output.
///
/// Decoding a token reads the weights, so it takes W / (t B) on t ranks of bandwidth B, and 4 meetings a layer when t > 1; a prompt multiplies, which takes
/// p M / (t F). So splitting pays for one user when W / B (1 - 1/t) is more than what the meetings take, and never pays for the sum of many users as much as
/// replicas do, as long as one node holds the model.
public struct ServingPlan: Codable, Sendable, Equatable {
  public struct Model: Codable, Sendable, Equatable {
    public var layers: Int
    /// Of all matrices, and of those that one token is multiplied with.
    public var weightBytes: Double
    public var weightBytesPerToken: Double
    public var multiplicationsPerToken: Double
    public var cacheBytesPerToken: Double
    /// What ranks put together for one token.
    public var gatheredBytesPerToken: Double

    public init(
      layers: Int, weightBytes: Double, weightBytesPerToken: Double, multiplicationsPerToken: Double, cacheBytesPerToken: Double,
      gatheredBytesPerToken: Double
    ) {
      self.layers = layers
      self.weightBytes = weightBytes
      self.weightBytesPerToken = weightBytesPerToken
      self.multiplicationsPerToken = multiplicationsPerToken
      self.cacheBytesPerToken = cacheBytesPerToken
      self.gatheredBytesPerToken = gatheredBytesPerToken
    }
  }

  public struct Node: Codable, Sendable, Equatable {
    public var memoryBytes: Double
    public var bytesPerSecond: Double
    public var multiplicationsPerSecond: Double

    public init(memoryBytes: Double, bytesPerSecond: Double, multiplicationsPerSecond: Double) {
      self.memoryBytes = memoryBytes
      self.bytesPerSecond = bytesPerSecond
      self.multiplicationsPerSecond = multiplicationsPerSecond
    }
  }

  /// Between the nodes: a meeting takes its seconds and the time of its bytes.
  public struct Link: Codable, Sendable, Equatable {
    public var meetingSeconds: Double
    public var bytesPerSecond: Double

    public init(meetingSeconds: Double, bytesPerSecond: Double) {
      self.meetingSeconds = meetingSeconds
      self.bytesPerSecond = bytesPerSecond
    }

    /// From the times of gathering a few bytes and many, each rank giving so many.
    public init(smallSeconds: Double, largeSeconds: Double, largeBytes: Double) {
      self.init(meetingSeconds: smallSeconds, bytesPerSecond: largeBytes / max(largeSeconds - smallSeconds, 1e-9))
    }
  }

  public struct Layout: Codable, Sendable, Equatable {
    public var replicas: Int
    public var tensorParallel: Int
    /// Weights, and keys and values of all users' contexts, on each node.
    public var memoryBytesPerNode: Double
    public var fits: Bool
    /// Of a prompt of `promptTokens`, when nobody else asks.
    public var firstTokenSeconds: Double
    /// Of one user, and of `users` together.
    public var tokensPerSecondOfOne: Double
    public var tokensPerSecondOfAll: Double
  }

  public static let promptTokens = 512
  public static let contextTokens = 1024
  public static let users = 8
  /// Tokens that the engine computes in a step.
  static let stepTokens = 256
  /// Of the engine's tokens, each of a model in parts.
  static let meetingsPerLayer = 4
  /// Of the memory of a node, for everything else on it.
  static let memoryShare = 0.9

  public var layouts: [Layout]
  /// Positions of the layouts with the quickest answer for one user and with the most tokens for many; nil when none fits.
  public var quickest: Int?
  public var most: Int?

  /// - Parameters:
  ///   - nodes: at least one.
  ///   - link: nil when there is a single node.
  public init(model: Model, nodes: [Node], link: Link?) {
    precondition(!nodes.isEmpty)
    // The slowest decides: all ranks wait for it, and requests are dealt out evenly.
    let node = Node(
      memoryBytes: nodes.map(\.memoryBytes).min() ?? 0, bytesPerSecond: nodes.map(\.bytesPerSecond).min() ?? 1,
      multiplicationsPerSecond: nodes.map(\.multiplicationsPerSecond).min() ?? 1)
    let sizes = link == nil ? [1] : (1...nodes.count).filter { $0 <= 8 || $0 == nodes.count }
    layouts = sizes.map { Self.layout(model, node, link, replicas: nodes.count / $0, ranks: $0) }
    let fitting = layouts.indices.filter { layouts[$0].fits }
    quickest = fitting.max { layouts[$0].tokensPerSecondOfOne < layouts[$1].tokensPerSecondOfOne }
    most = fitting.max { layouts[$0].tokensPerSecondOfAll < layouts[$1].tokensPerSecondOfAll }
  }

  /// Seconds that ranks wait for each other in one step of so many rows.
  static func meeting(_ model: Model, _ link: Link?, ranks: Int, rows: Int) -> Double {
    guard ranks > 1, let link else { return 0 }
    // One for the logits, and one that tells what the step is.
    let count = Double(meetingsPerLayer * model.layers + 2)
    return count * link.meetingSeconds + Double(rows) * model.gatheredBytesPerToken / Double(ranks) / link.bytesPerSecond
  }

  /// Seconds of a step that draws a token for each of so many users.
  static func step(_ model: Model, _ node: Node, _ link: Link?, ranks: Int, rows: Int) -> Double {
    let share = Double(ranks)
    let bytes = model.weightBytesPerToken + Double(rows * contextTokens) * model.cacheBytesPerToken
    let reading = bytes / share / node.bytesPerSecond
    let multiplying = Double(rows) * model.multiplicationsPerToken / share / node.multiplicationsPerSecond
    return max(reading, multiplying) + meeting(model, link, ranks: ranks, rows: rows)
  }

  private static func layout(_ model: Model, _ node: Node, _ link: Link?, replicas: Int, ranks: Int) -> Layout {
    let share = Double(ranks)
    let perReplica = (users + replicas - 1) / replicas
    let memory = (model.weightBytes + Double(perReplica * contextTokens) * model.cacheBytesPerToken) / share
    let steps = (promptTokens + stepTokens - 1) / stepTokens
    let prompt = max(
      Double(promptTokens) * model.multiplicationsPerToken / share / node.multiplicationsPerSecond,
      Double(steps) * model.weightBytesPerToken / share / node.bytesPerSecond)
    return Layout(
      replicas: replicas, tensorParallel: ranks, memoryBytesPerNode: memory, fits: memory <= node.memoryBytes * memoryShare,
      firstTokenSeconds: prompt + Double(steps) * meeting(model, link, ranks: ranks, rows: promptTokens / steps),
      tokensPerSecondOfOne: 1 / step(model, node, link, ranks: ranks, rows: 1),
      tokensPerSecondOfAll: Double(users) / step(model, node, link, ranks: ranks, rows: perReplica))
  }

  /// What to do, for people.
  public var advice: String {
    guard let quickest, let most else {
      let least = layouts.map(\.memoryBytesPerNode).min() ?? 0
      return "No layout fits: even the smallest part takes \(Self.gigabytes(least)) of each node. Use a smaller dtype, or more nodes."
    }
    let (fast, wide) = (layouts[quickest], layouts[most])
    guard fast != wide else {
      return fast.tensorParallel == 1
        ? "Replicas beat splitting: meetings of ranks would take longer than they save." : "Splitting is best: tensor_parallel: \(fast.tensorParallel)."
    }
    let gain = fast.tokensPerSecondOfOne / wide.tokensPerSecondOfOne
    return
      "tensor_parallel: \(fast.tensorParallel) answers one user \(Self.factor(gain)) times as fast; \(wide.replicas) \(wide.replicas == 1 ? "replica" : "replicas") with tensor_parallel: \(wide.tensorParallel) \(wide.replicas == 1 ? "writes" : "write") \(Self.factor(wide.tokensPerSecondOfAll / fast.tokensPerSecondOfAll)) times as much for \(Self.users)."
  }

  private static func gigabytes(_ bytes: Double) -> String { "\((bytes / 1e8).rounded() / 10) GB" }
  private static func factor(_ number: Double) -> String { "\((number * 10).rounded() / 10)" }
}
