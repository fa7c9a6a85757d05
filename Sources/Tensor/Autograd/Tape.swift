// SPDX-License-Identifier: Apache-2.0

import CKernels
import COpenBLAS
import Core

/// A [rows, columns] f32 activation on a tape: its value and, while gradients are recorded, its gradient.
public struct Activation {
  public let rows: Int
  public let columns: Int
  public let value: UnsafeMutablePointer<Float>
  /// Undefined until a backward step has written to it: reach it through the tape, which knows.
  let memory: UnsafeMutablePointer<Float>
  /// Its place among the tape's activations.
  let slot: Int
  public var count: Int { rows * columns }
}

/// A coarse tape: each operator computes at once and appends one hand-written backward step.
///
/// Activations live in an arena that `reset` empties and that grows to the largest step seen; after the first step nothing
/// is allocated but the list of steps. The first backward step that reaches a gradient writes it and the later ones add, so
/// that none is set to zero first. One thread uses a tape. Matrix products use OpenBLAS: one thread a call.
public final class Tape {
  public let parameters: ParameterStore
  public let collective: any Collective
  /// False: values only, for evaluation.
  public var records = true
  private var steps: [() throws -> Void] = []
  private var blocks: [(base: UnsafeMutablePointer<Float>, capacity: Int)] = []
  private var block = 0
  private var used = 0
  /// Which activations' gradients hold something.
  private var written: [Bool] = []

  public init(parameters: ParameterStore, collective: any Collective) {
    self.parameters = parameters
    self.collective = collective
    openblas_set_num_threads(1)
  }

  deinit { for block in blocks { block.base.deallocate() } }

  /// Forgets all activations and steps.
  public func reset() {
    steps.removeAll(keepingCapacity: true)
    written.removeAll(keepingCapacity: true)
    block = 0
    used = 0
  }

  /// `count` floats of the arena, 64-byte aligned, of undefined content.
  public func scratch(_ count: Int) -> UnsafeMutablePointer<Float> {
    let needed = (count + 15) / 16 * 16
    while true {
      if block < blocks.count {
        if used + needed <= blocks[block].capacity {
          defer { used += needed }
          return blocks[block].base + used
        }
        block += 1
        used = 0
        continue
      }
      let capacity = max(needed, 1 << 22)
      let raw = UnsafeMutableRawPointer.allocate(byteCount: capacity * 4, alignment: 64)
      blocks.append((raw.bindMemory(to: Float.self, capacity: capacity), capacity))
    }
  }

  public func activation(rows: Int, columns: Int) -> Activation {
    let value = scratch(rows * columns)
    return activation(rows: rows, columns: columns, value: value)
  }

  /// An activation of its own gradient over a value that exists.
  func activation(rows: Int, columns: Int, value: UnsafeMutablePointer<Float>) -> Activation {
    guard records else { return Activation(rows: rows, columns: columns, value: value, memory: value, slot: -1) }
    written.append(false)
    return Activation(rows: rows, columns: columns, value: value, memory: scratch(rows * columns), slot: written.count - 1)
  }

  /// The gradient of `x`, to add to or to read: zero when nothing has written it yet.
  public func gradient(_ x: Activation) -> UnsafeMutablePointer<Float> {
    if !marks(x) { x.memory.initialize(repeating: 0, count: x.count) }
    return x.memory
  }

  /// For a step that is about to write all of x's gradient: whether it must add to what is there (or else replace it).
  func marks(_ x: Activation) -> Bool {
    defer { written[x.slot] = true }
    return written[x.slot]
  }

  /// Adds `values` [x.count] to the gradient of `x`.
  func add(_ values: UnsafePointer<Float>, toGradientOf x: Activation) {
    if marks(x) { pk_train_add(x.memory, values, x.count) } else { x.memory.update(from: values, count: x.count) }
  }

  func value(_ parameter: Parameter) -> UnsafeMutablePointer<Float> { parameters.values + parameter.offset }
  func gradient(_ parameter: Parameter) -> UnsafeMutablePointer<Float> { parameters.gradients + parameter.offset }

  func record(_ step: @escaping () throws -> Void) { if records { steps.append(step) } }

  /// Runs all steps in reverse order. Set the gradient of the result first (the cross entropy does so itself).
  public func backward() throws {
    for step in steps.reversed() { try step() }
    steps.removeAll(keepingCapacity: true)
  }

  /// c[m, n] (+)= op(a) * op(b), row-major; lda, ldb, ldc: row strides.
  static func product(
    _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Float>, _ lda: Int, transposeA: Bool = false, _ b: UnsafePointer<Float>,
    _ ldb: Int, transposeB: Bool = false, _ c: UnsafeMutablePointer<Float>, _ ldc: Int, add: Bool
  ) {
    cblas_sgemm(
      CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans, blasint(m), blasint(n),
      blasint(k), 1, a, blasint(lda), b, blasint(ldb), add ? 1 : 0, c, blasint(ldc))
  }
}
