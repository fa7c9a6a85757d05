// SPDX-License-Identifier: Apache-2.0

import CKernels
public import Tensor

/// AdamW with decoupled decay (Loshchilov and Hutter, 2019) and a clip of the global gradient norm.
public final class AdamW: @unchecked Sendable {  // owned by the compute thread of one rank
  public let parameters: ParameterStore
  let first: UnsafeMutablePointer<Float>
  let second: UnsafeMutablePointer<Float>

  public init(_ parameters: ParameterStore) {
    self.parameters = parameters
    first = .allocate(capacity: max(parameters.count, 1))
    second = .allocate(capacity: max(parameters.count, 1))
    first.initialize(repeating: 0, count: max(parameters.count, 1))
    second.initialize(repeating: 0, count: max(parameters.count, 1))
  }

  deinit {
    first.deallocate()
    second.deallocate()
  }

  /// The norm of the whole model's gradient: parts are summed over the ranks once, replicated parameters count once.
  /// Collective; the same bits on every rank.
  public func gradientNorm(_ collective: any Collective) throws -> Float {
    var shared = 0.0
    var own = 0.0
    for parameter in parameters.parameters {
      let sum = pk_train_square_sum(parameters.gradients + parameter.offset, parameter.count)
      if parameter.split == .replicated { shared += sum } else { own += sum }
    }
    var total = Float(own)
    try collective.allReduceSum(&total, count: 1)
    return (total + Float(shared)).squareRoot()
  }

  /// One update. step counts from 1.
  public func update(step: Int, learningRate: Double, gradientNorm: Float, _ c: TrainingConfiguration) {
    let factor = gradientNorm > Float(c.clip) ? Float(c.clip) / (gradientNorm + 1e-6) : 1
    var power1 = 1.0
    var power2 = 1.0
    for _ in 0..<step {
      power1 *= c.beta1
      power2 *= c.beta2
    }
    for p in parameters.parameters {
      pk_train_adamw(
        parameters.values + p.offset, parameters.gradients + p.offset, first + p.offset, second + p.offset, p.count,
        Float(learningRate), Float(c.beta1), Float(c.beta2), Float(c.epsilon), p.decays ? Float(c.weightDecay) : 0,
        Float(1 - power1), Float(1 - power2), factor)
    }
  }
}
