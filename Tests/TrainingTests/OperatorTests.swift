// SPDX-License-Identifier: Apache-2.0

import Core
import Tensor
import Testing

@testable import Training

/// Every operator of the tape on its own, against differences of fourth order: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h.
///
/// With h = 0.02 the method's own error is about h^4 = 2e-7 and f32 sums of some tens of numbers of size 1 add 1e-6 / h = 5e-5;
/// the bound is 1e-3 of the largest gradient, or of 1.
@Suite struct OperatorTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var testDescription: String
    var inputs: [(rows: Int, columns: Int)] = []
    var parameters: [ParameterStore.Declaration] = []
    var worlds = [1]
    /// Computes a number from activations, and seeds its gradient.
    var body: @Sendable (Tape, [Activation]) throws -> Double
  }

  /// A fixed linear function of `out`: the number whose gradient is checked.
  static func project(_ out: Activation, _ tape: Tape) -> Double {
    var generator = SplitMix64(seed: 77)
    var sum = 0.0
    for i in 0..<out.count {
      let weight = Float(generator.nextUnit() * 2 - 1)
      sum += Double(weight) * Double(out.value[i])
      if tape.records { tape.gradient(out)[i] += weight }
    }
    return sum
  }

  /// Ids, targets and angles outlive the backward pass.
  final class Constants: @unchecked Sendable {  // never written after init
    let ids: UnsafeMutablePointer<Int32>
    let targets: UnsafeMutablePointer<Int32>
    let rotation: UnsafeMutablePointer<Float>
    init() {
      ids = .allocate(capacity: 6)
      targets = .allocate(capacity: 7)
      rotation = .allocate(capacity: 20)
      for (i, id) in [3, 0, 7, 3, 3, 5].enumerated() { ids[i] = Int32(id) }
      // One row has no target: it neither counts nor gets a gradient.
      for (i, target) in [1, 9, -1, 4, 4, 0, 5].enumerated() { targets[i] = Int32(target) }
      for position in 0..<5 {
        for (pair, angle) in [0.7, 0.2].enumerated() {
          // A rotation by any angle serves: (cos, sin) from the half-angle formulas.
          let t = Double(position) * angle / 2
          rotation[position * 4 + pair] = Float((1 - t * t) / (1 + t * t))
          rotation[position * 4 + 2 + pair] = Float(2 * t / (1 + t * t))
        }
      }
    }
  }
  static let constants = Constants()

  static let cases: [Case] = [
    Case(
      testDescription: "embedding, split by tokens", parameters: [.init("t", rows: 8, columns: 5, split: .rows, decays: false)], worlds: [1, 2]
    ) { tape, _ in
      project(try tape.leaveParallel(tape.embedding(constants.ids, count: 6, table: tape.parameters["t"])), tape)
    },
    Case(testDescription: "linear", inputs: [(6, 5)], parameters: [.init("w", rows: 7, columns: 5, split: .replicated, decays: true)]) { tape, x in
      project(tape.linear(x[0], weight: tape.parameters["w"]), tape)
    },
    Case(
      testDescription: "two linears, split by outputs, then inputs", inputs: [(6, 5)],
      parameters: [.init("w1", rows: 8, columns: 5, split: .rows, decays: true), .init("w2", rows: 3, columns: 8, split: .columns, decays: true)],
      worlds: [1, 2]
    ) { tape, x in
      let inner = tape.linear(tape.enterParallel(x[0]), weight: tape.parameters["w1"])
      return project(try tape.leaveParallel(tape.linear(inner, weight: tape.parameters["w2"])), tape)
    },
    Case(testDescription: "rmsNorm", inputs: [(6, 5)], parameters: [.init("g", rows: 1, columns: 5, split: .replicated, decays: false)]) { tape, x in
      project(tape.rmsNorm(x[0], gain: tape.parameters["g"], epsilon: 1e-5), tape)
    },
    Case(testDescription: "add", inputs: [(3, 5), (3, 5)]) { tape, x in project(tape.add(x[0], x[1]), tape) },
    Case(testDescription: "add to itself", inputs: [(3, 5)]) { tape, x in project(tape.add(x[0], x[0]), tape) },
    Case(testDescription: "swiGLU", inputs: [(4, 18)]) { tape, x in project(tape.swiGLU(x[0]), tape) },
    Case(testDescription: "swiGLU of what another has read", inputs: [(4, 18)]) { tape, x in
      let gated = tape.swiGLU(x[0])
      return project(gated, tape) + project(tape.add(x[0], x[0]), tape)
    },
    Case(testDescription: "causalAttention, 4 heads share 2 keys, 2 sequences", inputs: [(10, 32)]) { tape, x in
      project(tape.causalAttention(x[0], heads: 4, groups: 2, size: 4, length: 5, rotation: constants.rotation), tape)
    },
    Case(
      testDescription: "linear with three weights, two of which are neighbours", inputs: [(6, 4)],
      parameters: [(8, "a"), (3, "b"), (5, "c")].map { .init($1, rows: $0, columns: 4, split: .replicated, decays: true) }
    ) { tape, x in
      project(tape.linear(x[0], weights: ["a", "b", "c"].map { tape.parameters[$0] }), tape)
    },
    Case(
      testDescription: "a residual: norm, linear, add", inputs: [(6, 5)],
      parameters: [.init("g", rows: 1, columns: 5, split: .replicated, decays: false), .init("w", rows: 5, columns: 5, split: .replicated, decays: true)]
    ) { tape, x in
      let inner = tape.linear(tape.rmsNorm(x[0], gain: tape.parameters["g"], epsilon: 1e-5), weight: tape.parameters["w"])
      return project(tape.add(x[0], inner), tape)
    },
    Case(
      testDescription: "crossEntropy in chunks, split by tokens", inputs: [(7, 6)],
      parameters: [.init("h", rows: 10, columns: 6, split: .rows, decays: true)], worlds: [1, 2]
    ) { tape, x in
      try tape.crossEntropy(tape.enterParallel(x[0]), head: tape.parameters["h"], targets: constants.targets, chunk: 3).mean
    },
  ]

  @Test(arguments: cases.flatMap { one in one.worlds.map { (one, $0) } }) func backwardEqualsDifferences(_ one: Case, world: Int) throws {
    let worst = try ThreadGang.run(world) { try Self.worst(one, $0) }
    #expect(worst.allSatisfy { $0 < 1e-3 }, "\(worst)")
  }

  /// The largest deviation over all elements of all inputs and of this rank's parameters. Collective.
  private static func worst(_ one: Case, _ collective: any Collective) throws -> Double {
    let store = ParameterStore(one.parameters, rank: collective.rank, world: collective.worldSize)
    let tape = Tape(parameters: store, collective: collective)
    for p in store.parameters { store.initializeNormal(p, seed: 3, deviation: 1) }
    // The inputs of the operator, kept outside the tape because attention rotates its own.
    let inputs = ParameterStore(
      one.inputs.enumerated().map { .init("\($0)", rows: $1.rows, columns: $1.columns, split: .replicated, decays: false) }, rank: 0, world: 1)
    for p in inputs.parameters { inputs.initializeNormal(p, seed: 4, deviation: 1) }
    func evaluate(train: Bool) throws -> Double {
      tape.reset()
      tape.records = train
      let x = inputs.parameters.map { p in
        let x = tape.activation(rows: p.rows, columns: p.columns)
        x.value.update(from: inputs.values + p.offset, count: p.count)
        return x
      }
      let value = try one.body(tape, x)
      guard train else { return value }
      try tape.backward()
      for (p, x) in zip(inputs.parameters, x) { (inputs.gradients + p.offset).update(from: tape.gradient(x), count: p.count) }
      return value
    }
    store.zeroGradients()
    _ = try evaluate(train: true)
    var worst = 0.0
    /// place: nil when another rank holds the element; the evaluations are collective all the same.
    func compare(_ values: ParameterStore, _ place: Int?) throws {
      let before = place.map { values.values[$0] } ?? 0
      func at(_ by: Float) throws -> Double {
        if let place { values.values[place] = before + by }
        defer { if let place { values.values[place] = before } }
        return try evaluate(train: false)
      }
      let h: Float = 0.02
      let numeric = (8 * (try at(h) - at(-h)) - (try at(2 * h) - at(-2 * h))) / Double(12 * h)
      guard let place else { return }
      let exact = Double(values.gradients[place])
      worst = max(worst, abs(numeric - exact) / max(1, abs(exact)))
    }
    for values in [inputs, store] {
      for p in values.parameters {
        for row in 0..<p.wholeRows {
          for column in 0..<p.wholeColumns {
            let mine = row >= p.firstRow && row < p.firstRow + p.rows && column >= p.firstColumn && column < p.firstColumn + p.columns
            try compare(values, mine ? p.offset + (row - p.firstRow) * p.columns + column - p.firstColumn : nil)
          }
        }
      }
    }
    return worst
  }
}
