// SPDX-License-Identifier: Apache-2.0

import Core

/// Which numbers of a checkpoint make a vector.
struct VectorPlan: Sendable {
  var tensor: String
  /// Length of the stored vector.
  var stored: Int
  var count: Int
  var offset = 0
  /// Numbers that follow each other in the file; after each such run the next one begins `groupStride` further.
  var group: Int
  var groupStride = 0
  /// Gemma stores gains less 1.
  var addsOne = false

  init(_ tensor: String, _ count: Int, addsOne: Bool = false) {
    self.tensor = tensor
    self.stored = count
    self.count = count
    self.group = count
    self.addsOne = addsOne
  }

  init(_ tensor: String, stored: Int, offset: Int, count: Int) {
    self.init(tensor, count)
    self.stored = stored
    self.offset = offset
  }
}

/// Which numbers of a checkpoint make a [rows, columns] matrix (rows are outputs). Element (r, c) lies at
/// offset + r / group * groupStride + r % group * rowStride + c * columnStride.
struct MatrixPlan: Sendable {
  var tensor: String
  /// Shape of the stored tensor.
  var stored: [Int]
  var rows: Int
  var columns: Int
  var offset = 0
  var group: Int
  var groupStride = 0
  var rowStride: Int
  var columnStride = 1
  var bias: VectorPlan?

  /// A whole [rows, columns] tensor `NAME.weight`, and `NAME.bias`.
  init(_ name: String, _ rows: Int, _ columns: Int, bias: Bool = false) {
    self.init(tensor: name + ".weight", stored: [rows, columns], rows: rows, columns: columns)
    if bias { self.bias = VectorPlan(name + ".bias", rows) }
  }

  /// Consecutive rows of a [total, columns] tensor.
  init(_ name: String, rows: Range<Int>, of total: Int, _ columns: Int, bias: Bool = false) {
    self.init(tensor: name + ".weight", stored: [total, columns], rows: rows.count, columns: columns)
    offset = rows.lowerBound * columns
    if bias { self.bias = VectorPlan(name + ".bias", stored: total, offset: rows.lowerBound, count: rows.count) }
  }

  /// One of `parts` matrices that are interleaved head by head: a head's rows of the first, then of the second, ..
  init(_ name: String, part: Int, of parts: Int, heads: Int, headSize: Int, _ columns: Int, bias: Bool) {
    let total = heads * headSize * parts
    self.init(tensor: name + ".weight", stored: [total, columns], rows: heads * headSize, columns: columns)
    offset = part * headSize * columns
    group = headSize
    groupStride = parts * headSize * columns
    guard bias else { return }
    var plan = VectorPlan(name + ".bias", stored: total, offset: part * headSize, count: heads * headSize)
    plan.group = headSize
    plan.groupStride = parts * headSize
    self.bias = plan
  }

  /// Outputs `range` of a tensor stored as [inputs, total], as GPT-2 does.
  init(_ name: String, transposed range: Range<Int>, of total: Int, _ columns: Int) {
    self.init(tensor: name + ".weight", stored: [columns, total], rows: range.count, columns: columns)
    offset = range.lowerBound
    rowStride = 1
    columnStride = total
    bias = VectorPlan(name + ".bias", stored: total, offset: range.lowerBound, count: range.count)
  }

  /// `rows` rows from `first` on inside a tensor of any shape with rows of `columns` numbers.
  init(tensor: String, stored: [Int], first: Int, rows: Int, columns: Int) {
    self.init(tensor: tensor, stored: stored, rows: rows, columns: columns)
    offset = first * columns
  }

  /// The transpose of `columns` rows from `first` on, each of `rows` numbers.
  init(tensor: String, stored: [Int], transposing first: Int, rows: Int, columns: Int) {
    self.init(tensor: tensor, stored: stored, rows: rows, columns: columns)
    offset = first * rows
    rowStride = 1
    columnStride = rows
  }

  private init(tensor: String, stored: [Int], rows: Int, columns: Int) {
    self.tensor = tensor
    self.stored = stored
    self.rows = rows
    self.columns = columns
    group = rows
    rowStride = columns
  }

  /// Whether the numbers lie in the file as they are used.
  var isContiguous: Bool { columnStride == 1 && rowStride == columns && group == rows }
}

/// A normalisation of rows.
struct NormPlan: Sendable {
  enum Kind: Sendable { case rms, layer }
  var kind: Kind
  var gain: VectorPlan?
  var shift: VectorPlan?
  var epsilon: Float

  static func rms(_ name: String, _ count: Int, _ epsilon: Float, addsOne: Bool = false) -> NormPlan {
    NormPlan(kind: .rms, gain: VectorPlan(name + ".weight", count, addsOne: addsOne), epsilon: epsilon)
  }

  static func layer(_ name: String, _ count: Int, _ epsilon: Float, bias: Bool = true) -> NormPlan {
    NormPlan(
      kind: .layer, gain: VectorPlan(name + ".weight", count), shift: bias ? VectorPlan(name + ".bias", count) : nil, epsilon: epsilon)
  }
}

/// Attention of one layer. Keys are `num_key_value_heads`; a query head uses the key head of its group.
struct AttentionPlan: Sendable {
  var heads: Int
  var keyValueHeads: Int
  var headSize: Int
  var query: MatrixPlan
  var key: MatrixPlan
  var value: MatrixPlan
  var output: MatrixPlan
  /// Of queries and keys before they turn: of each head, or of all heads as one row.
  var queryNorm: NormPlan?
  var keyNorm: NormPlan?
  var normsHeads = true
  /// Queries, keys and values are cut to [-limit, limit].
  var clip: Float?
  /// Index into the plan's rotary kinds; nil for none.
  var rotary: Int? = 0
  var scale: Float
  /// Decoder: tokens that a row sees, its own among them. Encoder: distance that it sees to both sides.
  var window: Int?
  var softCap: Float?

  init(
    heads: Int, keyValueHeads: Int, headSize: Int, query: MatrixPlan, key: MatrixPlan, value: MatrixPlan, output: MatrixPlan
  ) {
    self.heads = heads
    self.keyValueHeads = keyValueHeads
    self.headSize = headSize
    self.query = query
    self.key = key
    self.value = value
    self.output = output
    scale = 1 / Float(headSize).squareRoot()
  }

  /// The names that most checkpoints use: `PREFIX.q_proj`, `k_proj`, `v_proj`, `o_proj`.
  init(_ prefix: String, _ shape: AttentionShape, bias: Bool = false, outputBias: Bool = false, output: String = "o_proj") {
    self.init(
      heads: shape.heads, keyValueHeads: shape.keyValueHeads, headSize: shape.headSize,
      query: MatrixPlan(prefix + "q_proj", shape.queryWidth, shape.hidden, bias: bias),
      key: MatrixPlan(prefix + "k_proj", shape.keyValueWidth, shape.hidden, bias: bias),
      value: MatrixPlan(prefix + "v_proj", shape.keyValueWidth, shape.hidden, bias: bias),
      output: MatrixPlan(prefix + output, shape.hidden, shape.queryWidth, bias: outputBias))
  }
}

/// Sizes that attention is built from.
struct AttentionShape: Sendable {
  var hidden: Int
  var heads: Int
  var keyValueHeads: Int
  var headSize: Int
  var queryWidth: Int { heads * headSize }
  var keyValueWidth: Int { keyValueHeads * headSize }

  init(hidden: Int, heads: Int, keyValueHeads: Int? = nil, headSize: Int? = nil) throws {
    self.hidden = hidden
    self.heads = heads
    self.keyValueHeads = keyValueHeads ?? heads
    self.headSize = headSize ?? hidden / heads
    guard self.headSize > 0, headSize != nil || hidden % heads == 0 else {
      throw ConfigurationFields.refusal("'hidden_size' (\(hidden)) is not a multiple of 'num_attention_heads' (\(heads)), and there is no 'head_dim'")
    }
    guard heads % self.keyValueHeads == 0 else {
      throw ConfigurationFields.refusal("'num_key_value_heads' (\(self.keyValueHeads)) does not divide 'num_attention_heads' (\(heads))")
    }
    guard self.headSize <= 1024, heads <= 1 << 12, hidden <= 1 << 17 else {
      throw ConfigurationFields.refusal("heads of \(self.headSize) numbers, \(heads) heads or 'hidden_size' \(hidden) are beyond 1024, 4096 and 131072")
    }
  }

  /// From the keys that most configurations use.
  /// - Parameters:
  ///   - missing: a head's size when the file does not say; nil for hidden_size / num_attention_heads.
  ///   - keyValueHeads: when the file leaves the key out; null in the file always means as many as query heads.
  init(_ c: ConfigurationFields, headSize missing: Int? = nil, keyValueHeads: Int? = nil) throws {
    try self.init(
      hidden: c.size("hidden_size"), heads: c.size("num_attention_heads"),
      keyValueHeads: c.json["num_key_value_heads"] == nil ? keyValueHeads : c.optionalSize("num_key_value_heads"),
      headSize: c.optionalSize("head_dim") ?? missing)
  }
}

/// activation(x gate) * (x up) down, or without a gate activation(x up) down.
struct FeedForwardPlan: Sendable {
  var gate: MatrixPlan?
  var up: MatrixPlan
  var down: MatrixPlan
  var activation: Activation

  /// `PREFIX.gate_proj`, `up_proj`, `down_proj`.
  static func gated(_ prefix: String, _ hidden: Int, _ inner: Int, _ activation: Activation, bias: Bool = false) -> FeedForwardPlan {
    FeedForwardPlan(
      gate: MatrixPlan(prefix + "gate_proj", inner, hidden, bias: bias), up: MatrixPlan(prefix + "up_proj", inner, hidden, bias: bias),
      down: MatrixPlan(prefix + "down_proj", hidden, inner, bias: bias), activation: activation)
  }

  static func plain(_ up: String, _ down: String, _ hidden: Int, _ inner: Int, _ activation: Activation, bias: Bool) -> FeedForwardPlan {
    FeedForwardPlan(
      up: MatrixPlan(up, inner, hidden, bias: bias), down: MatrixPlan(down, hidden, inner, bias: bias), activation: activation)
  }
}

/// A mixture of experts: softmax over all, the best `chosen` take part.
struct ExpertsPlan: Sendable {
  enum Weights: Sendable, Equatable {
    /// The chosen probabilities as they are.
    case raw
    /// Divided by their p-norm; p = 1 makes them sum to 1.
    case normalized(p: Double)
  }
  var router: MatrixPlan
  var experts: [FeedForwardPlan]
  var chosen: Int
  var weights: Weights
  /// An expert that every token passes, times sigmoid(x gate).
  var shared: (expert: FeedForwardPlan, gate: MatrixPlan)?
}

enum MixerPlan: Sendable {
  case dense(FeedForwardPlan)
  case experts(ExpertsPlan)
}

/// One transformer layer: attention and a feed-forward part, each with its residual.
struct LayerPlan: Sendable {
  enum Arrangement: Sendable {
    /// x += post(attention(norm(x))), then x += post(mixer(norm(x))).
    case sequential
    /// x += attention(norm(x)) + mixer(norm(x)); without a norm of its own the mixer takes attention's.
    case parallel
    /// x = post(x + attention(x)), then x = post(x + mixer(x)): BERT.
    case postNorm
  }
  var arrangement = Arrangement.sequential
  var attention: AttentionPlan
  var mixer: MixerPlan
  var attentionNorm: NormPlan?
  var attentionOutputNorm: NormPlan?
  var mixerNorm: NormPlan?
  var mixerOutputNorm: NormPlan?
  /// What is multiplied to both branches before they are added.
  var residualScale: Float = 1
}
