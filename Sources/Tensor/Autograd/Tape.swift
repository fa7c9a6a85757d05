// SPDX-License-Identifier: Apache-2.0

import COpenBLAS
import Core

/// A [rows, columns] f32 activation on a tape: its value and, while gradients are recorded, its gradient.
public struct Activation {
  public let rows: Int
  public let columns: Int
  public let value: UnsafeMutablePointer<Float>
  /// Zero until backward passes write (+=) to it. The value pointer itself (never used) when the tape does not record.
  public let gradient: UnsafeMutablePointer<Float>
  public var count: Int { rows * columns }
}

/// A coarse tape: each operator computes at once and appends one hand-written backward step.
///
/// Activations live in an arena that `reset` empties and that grows to the largest step seen; after the first step nothing
/// is allocated but the list of steps. One thread uses a tape. Matrix products use OpenBLAS: one thread a call.
public final class Tape {
  public let parameters: ParameterStore
  public let collective: any Collective
  /// False: values only, for evaluation.
  public var records = true
  private var steps: [() throws -> Void] = []
  private var blocks: [(base: UnsafeMutablePointer<Float>, capacity: Int)] = []
  private var block = 0
  private var used = 0

  public init(parameters: ParameterStore, collective: any Collective) {
    self.parameters = parameters
    self.collective = collective
    openblas_set_num_threads(1)
  }

  deinit { for block in blocks { block.base.deallocate() } }

  /// Forgets all activations and steps.
  public func reset() {
    steps.removeAll(keepingCapacity: true)
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
    return Activation(rows: rows, columns: columns, value: value, gradient: records ? zeros(rows * columns) : value)
  }

  func zeros(_ count: Int) -> UnsafeMutablePointer<Float> {
    let memory = scratch(count)
    memory.initialize(repeating: 0, count: count)
    return memory
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
