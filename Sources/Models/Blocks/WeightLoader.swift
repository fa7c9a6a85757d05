// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Glibc
import Tensor

/// Buffers and mapped files that weights point into.
///
/// Buffers lie one behind the other in mappings of their own: on the heap they would lie between what loading needs for a moment, and leave holes when that goes.
final class WeightStorage: @unchecked Sendable {  // filled by one loader, read-only afterwards
  private var mappings: [UnsafeMutableRawBufferPointer] = []
  /// Of the last mapping, what is taken.
  private var taken = 0
  private var views: [SafeTensorView] = []
  /// Bytes that were copied, because the file does not hold them as they are used.
  private(set) var copiedBytes = 0
  /// Bytes used where they lie in the mapped file.
  private(set) var mappedBytes = 0

  func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
    bytes(count * 4).bindMemory(to: Float.self, capacity: count)
  }

  /// At least 64 bytes, aligned to 64.
  func bytes(_ count: Int) -> UnsafeMutableRawPointer {
    let size = (max(count, 1) + 63) / 64 * 64
    if size > (mappings.last?.count ?? 0) - taken {
      // Pages that are never touched take no memory.
      let whole = max(size, 64 << 20)
      guard let start = mmap(nil, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), start != MAP_FAILED else {
        preconditionFailure("no memory for \(size) bytes of weights")
      }
      mappings.append(UnsafeMutableRawBufferPointer(start: start, count: whole))
      taken = 0
    }
    guard let mapping = mappings.last?.baseAddress else { preconditionFailure("a mapping was made above") }
    defer { taken += size }
    copiedBytes += count
    return mapping + taken
  }

  func keep(_ view: SafeTensorView, byteCount: Int) {
    views.append(view)
    mappedBytes += byteCount
  }

  /// Gives the mapped files' pages back; what is read again comes from the page cache.
  func dropPages() { for view in views { view.dropPages() } }

  deinit { for mapping in mappings { munmap(mapping.baseAddress, mapping.count) } }
}

/// Rows that are looked up, [rows, columns], in whatever form the file holds them.
struct EmbeddingTable {
  var view: SafeTensorView
  var rows: Int
  var columns: Int

  /// out: [columns]
  func copy(row: Int, into out: UnsafeMutablePointer<Float>) throws {
    try view.copyFloat32(into: out, from: row * columns, count: columns)
  }
}

/// A [rows, columns] matrix in a form of `pk_decode.h`, `pk_packed.h` or `pk_rows.h` with an optional bias of [rows].
struct Matrix {
  var type: Int32
  var rows: Int
  var columns: Int
  var weights: UnsafeRawPointer
  var bias: UnsafePointer<Float>?
  /// [columns]: inputs are multiplied by them and rotated before they are brought to 8 bits; nil: they are taken as they are.
  var factors: UnsafePointer<Float>?

  /// Of the weights in memory.
  var byteCount: Int {
    switch type {
    case Int32(PK_WEIGHT_F32): rows * columns * 4
    case Int32(PK_WEIGHT_BF16): rows * columns * 2
    case Int32(PK_WEIGHT_I8_ROWS): (rows + Int(PK_PANEL) - 1) / Int(PK_PANEL) * pk_rows_panel_bytes(columns)
    default: (rows + Int(PK_PANEL) - 1) / Int(PK_PANEL) * pk_panel_bytes(type, columns)
    }
  }
}

struct Norm {
  var kind: NormPlan.Kind
  var gain: UnsafePointer<Float>?
  var shift: UnsafePointer<Float>?
  var epsilon: Float

  /// y: [rows, count]; may be x.
  func apply(_ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>, rows: Int, count: Int) {
    switch (kind, gain) {
    case (.rms, let gain?): pk_rms_norm(x, gain, y, rows, count, epsilon)
    default: pk_layer_norm(x, gain, shift, y, rows, count, epsilon)
    }
  }
}

struct FeedForward {
  var gate: Matrix?
  var up: Matrix
  var down: Matrix
  var activation: Activation
  /// Inner numbers of the whole block: columns of `down`.
  var inner: Int
}

struct Experts {
  var router: Matrix
  var experts: [FeedForward]
  var chosen: Int
  var weights: ExpertsPlan.Weights
  var shared: (expert: FeedForward, gate: Matrix)?
}

struct Layer {
  enum Mixer {
    case dense(FeedForward)
    case experts(Experts)
  }
  /// Of the whole layer.
  var plan: LayerPlan
  /// The heads that are computed here, and the key heads that they use.
  var heads: Range<Int>
  var keyHeads: Range<Int>
  var query: Matrix
  var key: Matrix
  var value: Matrix
  var output: Matrix
  var queryNorm: Norm?
  var keyNorm: Norm?
  var attentionNorm: Norm?
  var attentionOutputNorm: Norm?
  var mixerNorm: Norm?
  var mixerOutputNorm: Norm?
  var mixer: Mixer
}

/// Finds the tensors of plans in a checkpoint and makes them usable: bf16 and f32 stay in the mapped file where their layout
/// allows it, all else becomes f32. Matrices that rows are multiplied with take the form that `precision` asks for.
struct WeightLoader {
  let source: any SafeTensorSource
  var precision = WeightPrecision.f32
  /// Which outputs of matrices are loaded.
  var part = ModelPart.whole
  /// Whether the file stores gains with the 1 that Gemma's checkpoints leave out.
  var gainsAreWhole = false
  /// int8 with one scale for each output and each row of inputs, instead of one for 32 weights: quicker, a little further from f32.
  var scalesWholeRows = false
  /// Whether inputs of weights in 8 and 4 bits are levelled and rotated.
  var isLevelling = false
  var storage = WeightStorage()

  /// The name under which the file holds `name`: as it is, without the base model's prefix (checkpoints of a bare model), or
  /// inside a model with a vision part.
  func resolve(_ name: String) -> String? {
    if source.contains(name) { return name }
    for base in ["model.", "transformer.", "gpt_neox.", "bert.", "roberta.", "distilbert.", "mpnet.", "nomic_bert."] where name.hasPrefix(base) {
      let bare = String(name.dropFirst(base.count))
      for prefix in ["", "model.language_model.", "language_model.model.", "language_model."] where source.contains(prefix + bare) {
        return prefix + bare
      }
    }
    for prefix in ["model.", "bert.", "roberta.", "distilbert.", "mpnet.", "nomic_bert.", "language_model."]
    where source.contains(prefix + name) { return prefix + name }
    // Checkpoints converted from TensorFlow call the norms' parameters gamma and beta.
    for (new, old) in [("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")] where name.hasSuffix(new) {
      return resolve(name.dropLast(new.count) + old)
    }
    return nil
  }

  func contains(_ name: String) -> Bool { resolve(name) != nil }

  func view(_ name: String, shape: [Int]) throws -> SafeTensorView {
    guard let resolved = resolve(name) else {
      throw PlatformError(.invalidFile, "the model has no tensor '\(name)'", number: "PLT-4103")
    }
    let view = try source.tensor(resolved)
    guard view.shape == shape else {
      throw PlatformError(
        .invalidFile, "tensor '\(resolved)' has shape \(view.shape), the configuration asks for \(shape)", number: "PLT-4103", path: view.path)
    }
    guard view.dtype.isFloatingPoint else {
      throw PlatformError(
        .invalidFile, "tensor '\(resolved)' holds \(view.dtype.rawValue), not floating point", number: "PLT-4103", path: view.path)
    }
    return view
  }

  func vector(_ plan: VectorPlan) throws -> UnsafePointer<Float> {
    let view = try view(plan.tensor, shape: [plan.stored])
    let whole = try view.float32()
    let target = storage.floats(plan.count)
    for index in 0..<plan.count {
      target[index] = whole[plan.offset + index / plan.group * plan.groupStride + index % plan.group] + (plan.addsOne && !gainsAreWhole ? 1 : 0)
    }
    return UnsafePointer(target)
  }

  func table(_ tensor: String, _ rows: Int, _ columns: Int) throws -> EmbeddingTable {
    EmbeddingTable(view: try view(tensor, shape: [rows, columns]), rows: rows, columns: columns)
  }

  func matrix(_ plan: MatrixPlan) throws -> Matrix {
    let view = try view(plan.tensor, shape: plan.stored)
    let bias = try plan.bias.map(vector)
    let count = plan.rows * plan.columns
    func made(_ type: Int, _ weights: UnsafeRawPointer) -> Matrix {
      Matrix(type: Int32(type), rows: plan.rows, columns: plan.columns, weights: weights, bias: bias)
    }
    let size = view.dtype.byteCount
    if plan.isContiguous, view.blocks == nil, view.dtype == .f32 || view.dtype == .bf16 {
      let start = view.rawBytes + plan.offset * size
      if Int(bitPattern: start) % size == 0 {
        storage.keep(view, byteCount: count * size)
        return made(view.dtype == .f32 ? Int(PK_WEIGHT_F32) : Int(PK_WEIGHT_BF16), start)
      }
    }
    let target = storage.floats(count)
    try copy(plan, view, into: target)
    return made(Int(PK_WEIGHT_F32), UnsafeRawPointer(target))
  }

  /// target: [rows, columns]
  func copy(_ plan: MatrixPlan, _ view: SafeTensorView, into target: UnsafeMutablePointer<Float>) throws {
    guard !plan.isContiguous else {
      return try view.copyFloat32(into: target, from: plan.offset, count: plan.rows * plan.columns)
    }
    guard plan.rows > 0 else { return }
    // A matrix that is stored the other way round: a part of its rows is a part of each stored row.
    if plan.rowStride == 1, plan.group >= plan.rows {
      let column = UnsafeMutablePointer<Float>.allocate(capacity: plan.rows)
      defer { column.deallocate() }
      for index in 0..<plan.columns {
        try view.copyFloat32(into: column, from: plan.offset + index * plan.columnStride, count: plan.rows)
        for row in 0..<plan.rows { target[row * plan.columns + index] = column[row] }
      }
      return
    }
    // Only what lies between the first and the last element is converted.
    func place(_ row: Int) -> Int { row / plan.group * plan.groupStride + row % plan.group * plan.rowStride }
    let span = place(plan.rows - 1) + (plan.columns - 1) * plan.columnStride + 1
    let part = UnsafeMutablePointer<Float>.allocate(capacity: span)
    defer { part.deallocate() }
    try view.copyFloat32(into: part, from: plan.offset, count: span)
    for row in 0..<plan.rows {
      let start = place(row)
      for column in 0..<plan.columns { target[row * plan.columns + column] = part[start + column * plan.columnStride] }
    }
  }

  func norm(_ plan: NormPlan) throws -> Norm {
    Norm(kind: plan.kind, gain: try plan.gain.map(vector), shift: try plan.shift.map(vector), epsilon: plan.epsilon)
  }

  /// - Parameters:
  ///   - outer: how its input, if that goes to nothing else, is levelled.
  ///   - inner: mean squares of what `down` is multiplied with.
  func feedForward(_ plan: FeedForwardPlan, outer: InputLevels? = nil, inner squares: [Float]? = nil) throws -> FeedForward {
    let inner = part.range(plan.up.rows)
    return FeedForward(
      gate: try plan.gate.map { try linear($0.part(inner), outer) }, up: try linear(plan.up.part(inner), outer, least: plan.leastOfUp),
      down: try linear(plan.down.part(part.range(plan.down.rows)), levels(of: [plan.down], squares), least: plan.leastOfDown), activation: plan.activation,
      inner: plan.up.rows)
  }

  /// - Parameter inputs: what its matrices are multiplied with, where that is known.
  func layer(_ plan: LayerPlan, inputs: LayerInputs? = nil) throws -> Layer {
    let attention = plan.attention
    let mixer: Layer.Mixer
    switch plan.mixer {
    case .dense(let dense):
      let outer = try levels(of: [dense.up] + (dense.gate.map { [$0] } ?? []), inputs?.mixer)
      mixer = .dense(try feedForward(dense, outer: outer, inner: inputs?.inner))
    case .experts(let experts):
      guard experts.chosen <= experts.experts.count else {
        throw ConfigurationFields.refusal("\(experts.chosen) experts a token are more than the \(experts.experts.count) that there are")
      }
      let first = experts.experts.first.map { [$0.up] + ($0.gate.map { [$0] } ?? []) } ?? []
      let outer = try levels(of: first, inputs?.mixer)
      mixer = .experts(
        Experts(
          router: try matrix(experts.router), experts: try experts.experts.map { try feedForward($0, outer: outer) }, chosen: experts.chosen,
          weights: experts.weights, shared: try experts.shared.map { (try feedForward($0.expert, outer: outer), try matrix($0.gate)) }))
    }
    let size = attention.headSize
    let (heads, keyHeads) = part.heads(attention.heads, attention.keyValueHeads, of: part.rank)
    let queries = heads.lowerBound * size..<heads.upperBound * size
    let keys = keyHeads.lowerBound * size..<keyHeads.upperBound * size
    let read = try levels(of: [attention.query, attention.key, attention.value], inputs?.attention)
    let heard = try levels(of: [attention.output], inputs?.output)
    return Layer(
      plan: plan, heads: heads, keyHeads: keyHeads, query: try linear(attention.query.part(queries), read, least: .int8),
      key: try linear(attention.key.part(keys), read, least: .int8), value: try linear(attention.value.part(keys), read, least: .int8),
      output: try linear(attention.output.part(part.range(attention.output.rows)), heard, least: .int8),
      queryNorm: try attention.queryNorm.map(norm), keyNorm: try attention.keyNorm.map(norm),
      attentionNorm: try plan.attentionNorm.map(norm), attentionOutputNorm: try plan.attentionOutputNorm.map(norm),
      mixerNorm: try plan.mixerNorm.map(norm), mixerOutputNorm: try plan.mixerOutputNorm.map(norm), mixer: mixer)
  }
}
