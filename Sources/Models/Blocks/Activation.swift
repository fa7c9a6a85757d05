// SPDX-License-Identifier: Apache-2.0

import CKernels

/// The non-linear function of a feed-forward block, by the names that configurations use.
enum Activation: Sendable, Equatable {
  case silu, geluErf, geluTanh, geluSigmoid, relu, reluSquared, tanh, sigmoid

  private static let table: [String: Activation] = [
    "silu": .silu, "swish": .silu, "gelu": .geluErf, "gelu_python": .geluErf, "gelu_new": .geluTanh, "gelu_pytorch_tanh": .geluTanh,
    "gelu_fast": .geluTanh, "gelu_accurate": .geluTanh, "gelu_python_tanh": .geluTanh, "quick_gelu": .geluSigmoid, "relu": .relu,
    "relu2": .reluSquared, "tanh": .tanh, "sigmoid": .sigmoid,
  ]

  static var names: [String] { table.keys.sorted() }

  init?(_ name: String) {
    guard let known = Self.table[name] else { return nil }
    self = known
  }

  func apply(_ x: UnsafeMutablePointer<Float>, _ count: Int) {
    let kind: Int =
      switch self {
      case .silu: Int(PK_SILU)
      case .geluErf: Int(PK_GELU_ERF)
      case .geluTanh: Int(PK_GELU_TANH)
      case .geluSigmoid: Int(PK_GELU_SIGMOID)
      case .relu: Int(PK_RELU)
      case .reluSquared: Int(PK_RELU_SQUARED)
      case .tanh: Int(PK_TANH)
      case .sigmoid: Int(PK_SIGMOID)
      }
    pk_activate(Int32(kind), x, count)
  }

  /// gate = activation(gate) * up.
  func apply(gate: UnsafeMutablePointer<Float>, up: UnsafePointer<Float>, _ count: Int) {
    if self == .silu { return pk_swiglu(gate, up, count) }
    apply(gate, count)
    pk_multiply(gate, up, count)
  }
}
