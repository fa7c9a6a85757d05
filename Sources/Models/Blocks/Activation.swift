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

  /// Of `pk_activate`.
  var kind: Int32 {
    switch self {
    case .silu: Int32(PK_SILU)
    case .geluErf: Int32(PK_GELU_ERF)
    case .geluTanh: Int32(PK_GELU_TANH)
    case .geluSigmoid: Int32(PK_GELU_SIGMOID)
    case .relu: Int32(PK_RELU)
    case .reluSquared: Int32(PK_RELU_SQUARED)
    case .tanh: Int32(PK_TANH)
    case .sigmoid: Int32(PK_SIGMOID)
    }
  }

  func apply(_ x: UnsafeMutablePointer<Float>, _ count: Int) { pk_activate(kind, x, count) }

  /// gate = activation(gate) * up.
  func apply(gate: UnsafeMutablePointer<Float>, up: UnsafePointer<Float>, _ count: Int) {
    if self == .silu { return pk_swiglu(gate, up, count) }
    apply(gate, count)
    pk_multiply(gate, up, count)
  }
}
