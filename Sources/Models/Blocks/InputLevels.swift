// SPDX-License-Identifier: Apache-2.0

import CKernels
import Foundation

/// What makes 8 bits do for the inputs of a matrix: x W = (x / s) (s W), and of each group of 32 both sides rotated by a Hadamard matrix.
///
/// A few inputs of trained models are tens of times larger than their neighbours, with whom they share a scale. Dividing each by a part of its
/// usual size (Xiao and others, SmoothQuant, 2022) and spreading what is left over its group (Ashkboos and others, QuaRot, 2024) leaves
/// a quarter of the divergence that 8 bits cause without; the weights that large inputs meet are stored finer, too.
struct InputLevels {
  /// What weights are multiplied by before they are rotated: s. [columns]
  let weights: [Float]
  /// What inputs are multiplied by before they are rotated: 1 / s, and 1 / 32 in a full group, as rotating twice multiplies by that. [columns]
  let inputs: UnsafePointer<Float>

  /// - Parameters:
  ///   - squares: mean squares of the inputs, [columns]; nil: all alike.
  ///   - storage: keeps what this points to.
  init(columns: Int, squares: [Float]?, _ storage: WeightStorage) {
    let inputs = storage.floats(columns)
    weights = Self.divisors(squares ?? Array(repeating: 1, count: columns))
    let group = Int(PK_GROUP)
    for column in 0..<columns {
      inputs[column] = 1 / weights[column] / (column < columns / group * group ? Float(group) : 1)
    }
    self.inputs = UnsafePointer(inputs)
  }

  /// s for inputs of these mean squares: their size to the power of 0.4, relative to the geometric mean, from 1/16 to 16, in quarters of an octave,
  /// so that the last bits of a measurement decide nothing. All 1 where a square is not a number.
  static func divisors(_ squares: [Float]) -> [Float] {
    let mean = squares.reduce(0.0) { $0 + Double($1) } / Double(max(1, squares.count))
    guard mean.isFinite, mean > 0 else { return squares.map { _ in 1 } }
    // An input that happened to be 0 is not one that always is.
    let logarithms = squares.map { log2(Double($0) + mean * 1e-4) / 2 }
    let middle = logarithms.reduce(0, +) / Double(logarithms.count)
    return logarithms.map { Float(exp2(((0.4 * ($0 - middle) * 4).rounded() / 4).clamped(to: -4...4))) }
  }
}

extension Double {
  fileprivate func clamped(to range: ClosedRange<Double>) -> Double { min(max(self, range.lowerBound), range.upperBound) }
}

/// Mean squares of what a layer's matrices are multiplied with.
struct LayerInputs {
  /// Of query, key and value: [hidden].
  var attention: [Float]?
  /// Of attention's output matrix.
  var output: [Float]?
  /// Of gate and up: [hidden].
  var mixer: [Float]?
  /// Of down: [inner]; nil for experts, of whom each sees a few tokens only.
  var inner: [Float]?
}
