// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Dispatch
import Synchronization
import Tensor

/// What the matrices of a model are multiplied as. Embeddings that are looked up, norms, biases and the routers of experts keep their
/// stored numbers in any case; sums are f32.
public enum WeightPrecision: String, CaseIterable, Codable, Sendable {
  /// The stored numbers, whatever their float type.
  case f32
  /// Rounded to bf16 where they are not; inputs stay f32.
  case bf16
  /// 8 bits and one f16 scale for 32 weights, levelled and rotated (`InputLevels`); inputs are brought to 8 bits as well.
  case int8
  /// What a file holds in 4 bits stays as it is. Of others, feed-forward parts and experts in 4 bits, a place in a table of 16 numbers, with one
  /// f16 scale for 32 weights; attention, the vocabulary's matrix, in models up to a width of 2048 the matrices that lead back to it, and up
  /// to 1024 what a gate lets through in 8 bits.
  case int4
}

extension FeedForwardPlan {
  /// What leads back to a narrow row of states is where 4 bits are felt; wide models have more to average over, and more to hold.
  var leastOfDown: WeightPrecision? { down.rows <= 2048 ? .int8 : nil }
  /// A gate feels them less than what it lets through.
  var leastOfUp: WeightPrecision? { gate != nil && down.rows <= 1024 ? .int8 : nil }
}

extension WeightLoader {
  /// A matrix that rows are multiplied with.
  /// - Parameters:
  ///   - levels: of its input, for weights of 8 and 4 bits; nil: as stored.
  ///   - least: the fewest bits that it may have.
  func linear(_ plan: MatrixPlan, _ levels: InputLevels?, least: WeightPrecision? = nil) throws -> Matrix {
    switch try precision == .int4 ? (holdsFourBits(plan) ? .int4 : least ?? .int4) : precision {
    case .f32: try matrix(plan)
    case .bf16: try rounded(plan)
    case .int8: try scalesWholeRows && plan.columns <= Int(PK_ROWS_MOST) ? scaledByRow(plan) : packed(plan, Int32(PK_WEIGHT_I8), levels)
    case .int4: try packed(plan, Int32(PK_WEIGHT_I4), levels)
    }
  }

  private func rounded(_ plan: MatrixPlan) throws -> Matrix {
    let view = try view(plan.tensor, shape: plan.stored)
    if plan.isContiguous, view.blocks == nil, view.dtype == .bf16 { return try matrix(plan) }
    let target = storage.bytes(plan.rows * plan.columns * 2)
    try panels(plan, view) { first, rows, source in
      let place = target + first * plan.columns * 2
      pk_f32_to_bf16(source, place.assumingMemoryBound(to: UInt16.self), rows * plan.columns)
    }
    return Matrix(
      type: Int32(PK_WEIGHT_BF16), rows: plan.rows, columns: plan.columns, weights: UnsafeRawPointer(target), bias: try plan.bias.map(vector))
  }

  private func scaledByRow(_ plan: MatrixPlan) throws -> Matrix {
    let view = try view(plan.tensor, shape: plan.stored)
    let height = Int(PK_PANEL)
    let size = pk_rows_panel_bytes(plan.columns)
    let target = storage.bytes((plan.rows + height - 1) / height * size)
    try panels(plan, view) { first, rows, source in pk_rows_pack(source, rows, plan.columns, target + first / height * size) }
    return Matrix(
      type: Int32(PK_WEIGHT_I8_ROWS), rows: plan.rows, columns: plan.columns, weights: UnsafeRawPointer(target), bias: try plan.bias.map(vector))
  }

  private func packed(_ plan: MatrixPlan, _ type: Int32, _ levels: InputLevels?) throws -> Matrix {
    let view = try view(plan.tensor, shape: plan.stored)
    let height = Int(PK_PANEL)
    let size = pk_panel_bytes(type, plan.columns)
    let target = storage.bytes((plan.rows + height - 1) / height * size)
    if levels == nil, let format = view.blocks, plan.isContiguous, Self.keeps(format, type) {
      // The file's own numbers, of which none is rounded again.
      let work = BlockWork(
        format: format, source: view.rawBytes + plan.offset / format.weightCount * format.byteCount, type: type, columns: plan.columns, target: target)
      pieces(plan, view) { panels in
        DispatchQueue.concurrentPerform(iterations: panels.count) { index in
          let panel = panels.lowerBound + index
          work.pack(panel: panel, rows: min(height, plan.rows - panel * height))
        }
      }
      return Matrix(
        type: type, rows: plan.rows, columns: plan.columns, weights: UnsafeRawPointer(target), bias: try plan.bias.map(vector))
    }
    let isa = pk_decode_isa_best()
    try panels(plan, view) { first, rows, source in
      let panel = target + first / height * size
      guard let levels else { return pk_pack_panel(isa, type, source, rows, plan.columns, panel) }
      let rotated = UnsafeMutablePointer<Float>.allocate(capacity: rows * plan.columns)
      defer { rotated.deallocate() }
      pk_rotate_rows(isa, source, rows, plan.columns, levels.weights, rotated)
      pk_pack_panel(isa, type, rotated, rows, plan.columns, panel)
    }
    return Matrix(
      type: type, rows: plan.rows, columns: plan.columns, weights: UnsafeRawPointer(target), bias: try plan.bias.map(vector),
      factors: levels?.inputs)
  }

  /// How the input of some matrices is levelled: nil where their weights are not packed, or where one of them keeps the file's 4 bits, which rotating
  /// would round again.
  /// - Parameter squares: mean squares of the input, [columns]; nil: rotated only.
  func levels(of plans: [MatrixPlan], _ squares: [Float]?) throws -> InputLevels? {
    guard let plan = plans.first, isLevelling, !scalesWholeRows, precision == .int8 || precision == .int4,
      try precision == .int8 || !plans.contains(where: holdsFourBits)
    else { return nil }
    return InputLevels(columns: plan.columns, squares: squares, storage)
  }

  /// Whether the file has no more than 4 bits of the matrix: then these are kept as they are, whatever else would suit it.
  func holdsFourBits(_ plan: MatrixPlan) throws -> Bool {
    guard plan.isContiguous, let name = resolve(plan.tensor), let format = try source.blocks(of: name) else { return false }
    return Self.keeps(format, Int32(PK_WEIGHT_I4))
  }

  /// Whether blocks of `format` are packed weights of `type` already.
  private static func keeps(_ format: BlockFormat, _ type: Int32) -> Bool {
    type == Int32(PK_WEIGHT_I8) ? format == .q8_0 : format == .q4_0 || format == .iq4_nl
  }

  /// Hands the matrix as f32 to `body`, 16 rows at a time and on many threads: the first row, how many, and [rows, columns] numbers.
  private func panels(_ plan: MatrixPlan, _ view: SafeTensorView, _ body: @escaping (Int, Int, UnsafePointer<Float>) -> Void) throws {
    var whole: UnsafeMutablePointer<Float>?
    defer { whole?.deallocate() }
    if !plan.isContiguous {
      let copy = UnsafeMutablePointer<Float>.allocate(capacity: plan.rows * plan.columns)
      whole = copy
      try self.copy(plan, view, into: copy)
    }
    let height = Int(PK_PANEL)
    let work = PanelWork(whole: whole, body: body)
    pieces(plan, view) { panels in
      DispatchQueue.concurrentPerform(iterations: panels.count) { index in
        let first = (panels.lowerBound + index) * height
        let rows = min(height, plan.rows - first)
        if let whole = work.whole { return work.body(first, rows, whole + first * plan.columns) }
        let scratch = UnsafeMutablePointer<Float>.allocate(capacity: rows * plan.columns)
        defer { scratch.deallocate() }
        do {
          try view.copyFloat32(into: scratch, from: plan.offset + first * plan.columns, count: rows * plan.columns)
          work.body(first, rows, scratch)
        } catch {
          work.failure.withLock { $0 = error }
        }
      }
    }
    if let error = work.failure.withLock({ $0 }) { throw error }
  }

  /// Hands the matrix' panels to `body`, some megabytes at a time, and gives the file's pages back behind each: packed weights and those that they are
  /// packed from are not all in memory at once.
  private func pieces(_ plan: MatrixPlan, _ view: SafeTensorView, _ body: (Range<Int>) -> Void) {
    let height = Int(PK_PANEL)
    let panels = (plan.rows + height - 1) / height
    let size = max(1, (4 << 20) / max(1, height * plan.columns))
    for first in stride(from: 0, to: panels, by: size) {
      let piece = first..<min(first + size, panels)
      body(piece)
      guard plan.isContiguous else { continue }
      let rows = piece.lowerBound * height..<min(piece.upperBound * height, plan.rows)
      view.dropPages(from: plan.offset + rows.lowerBound * plan.columns, count: rows.count * plan.columns)
    }
    if !plan.isContiguous { view.dropPages() }
  }
}

/// A matrix of a GGUF file's blocks, and where its panels go; each thread writes to panels of its own.
private struct BlockWork: @unchecked Sendable {
  let format: BlockFormat
  let source: UnsafeRawPointer
  let type: Int32
  let columns: Int
  let target: UnsafeMutableRawPointer

  func pack(panel: Int, rows: Int) {
    let groups = columns / Int(PK_GROUP)
    withUnsafeTemporaryAllocation(of: Int8.self, capacity: rows * columns) { codes in
      withUnsafeTemporaryAllocation(of: UInt16.self, capacity: rows * groups) { scales in
        guard let codes = codes.baseAddress, let scales = scales.baseAddress else { return }
        pk_split_blocks(format.rawValue, source + panel * Int(PK_PANEL) * groups * format.byteCount, rows * groups, codes, scales)
        withUnsafePointer(to: format == .q4_0 ? pk_table_q4_0 : pk_table_i4) { table in
          table.withMemoryRebound(to: Int8.self, capacity: 16) {
            pk_pack_codes(type, codes, scales, $0, rows, columns, target + panel * pk_panel_bytes(type, columns))
          }
        }
      }
    }
  }
}

/// What the threads that pack a matrix share; each writes to panels of its own.
private final class PanelWork: @unchecked Sendable {
  let whole: UnsafeMutablePointer<Float>?
  let body: (Int, Int, UnsafePointer<Float>) -> Void
  let failure = Mutex<(any Error)?>(nil)

  init(whole: UnsafeMutablePointer<Float>?, body: @escaping (Int, Int, UnsafePointer<Float>) -> Void) {
    self.whole = whole
    self.body = body
  }
}
