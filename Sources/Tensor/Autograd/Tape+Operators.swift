// SPDX-License-Identifier: Apache-2.0

import CKernels

extension Tape {
  /// ids: [count], kept valid until `backward`; the result is [count, width] and, when the vocabulary is split, 0 for tokens
  /// of other ranks: sum it with `leaveParallel`.
  public func embedding(_ ids: UnsafePointer<Int32>, count: Int, table: Parameter) -> Activation {
    let out = activation(rows: count, columns: table.columns)
    let first = Int32(table.firstRow)
    let rows = Int32(table.rows)
    pk_train_embed(ids, count, table.columns, value(table), first, rows, out.value)
    record { [self] in pk_train_embed_backward(ids, count, table.columns, gradient(out), first, rows, gradient(table)) }
    return out
  }

  /// x: [n, in] times the transpose of weight [out, in]; no bias.
  public func linear(_ x: Activation, weight: Parameter) -> Activation { linear(x, weights: [weight]) }

  /// x: [n, in] times the transposes of several weights [out, in], the results side by side: [n, sum of out]. Weights that
  /// follow each other in the store are one matrix to the product: x is read once.
  public func linear(_ x: Activation, weights: [Parameter]) -> Activation {
    precondition(weights.allSatisfy { $0.columns == x.columns })
    let (n, inputs) = (x.rows, x.columns)
    var runs: [(offset: Int, rows: Int)] = []
    for weight in weights {
      if let last = runs.last, last.offset + last.rows * inputs == weight.offset {
        runs[runs.count - 1].rows += weight.rows
      } else {
        runs.append((weight.offset, weight.rows))
      }
    }
    let stride = runs.reduce(0) { $0 + $1.rows }
    let out = activation(rows: n, columns: stride)
    var column = 0
    for run in runs {
      Self.product(
        n, run.rows, inputs, x.value, inputs, parameters.values + run.offset, inputs, transposeB: true, out.value + column, stride, add: false)
      column += run.rows
    }
    record { [self, runs] in
      let grad = gradient(out)
      var column = 0
      for run in runs {
        Self.product(
          n, inputs, run.rows, grad + column, stride, parameters.values + run.offset, inputs, x.memory, inputs, add: marks(x))
        Self.product(
          run.rows, inputs, n, grad + column, stride, transposeA: true, x.value, inputs, parameters.gradients + run.offset, inputs, add: true)
        column += run.rows
      }
    }
    return out
  }

  /// Root-mean-square norm with a gain (Zhang and Sennrich, 2019).
  public func rmsNorm(_ x: Activation, gain: Parameter, epsilon: Float) -> Activation {
    precondition(x.columns == gain.columns)
    let out = activation(rows: x.rows, columns: x.columns)
    let inverse = scratch(x.rows)
    pk_train_rms(x.value, value(gain), x.rows, x.columns, epsilon, out.value, inverse)
    record { [self] in
      pk_train_rms_backward(
        x.value, value(gain), inverse, gradient(out), x.rows, x.columns, gradient(x), gradient(gain))
    }
    return out
  }

  public func add(_ a: Activation, _ b: Activation) -> Activation {
    precondition(a.rows == b.rows && a.columns == b.columns)
    let out = activation(rows: a.rows, columns: a.columns)
    pk_train_sum(out.value, a.value, b.value, a.count)
    record { [self] in
      let grad = gradient(out)
      add(grad, toGradientOf: a)
      add(grad, toGradientOf: b)
    }
    return out
  }

  /// silu(gate) * up (Shazeer, 2020). pair: [n, gate | up], as `linear(_:weights:)` makes it.
  public func swiGLU(_ pair: Activation) -> Activation {
    precondition(pair.columns % 2 == 0)
    let out = activation(rows: pair.rows, columns: pair.columns / 2)
    pk_train_swiglu_rows(pair.value, pair.rows, out.columns, out.value)
    record { [self] in
      if marks(pair) {
        let more = scratch(pair.count)
        pk_train_swiglu_rows_backward(pair.value, gradient(out), pair.rows, out.columns, more)
        pk_train_add(pair.memory, more, pair.count)
      } else {
        pk_train_swiglu_rows_backward(pair.value, gradient(out), pair.rows, out.columns, pair.memory)
      }
    }
    return out
  }

  /// Megatron's f: the identity; its backward sums the gradient over the ranks.
  public func enterParallel(_ x: Activation) -> Activation {
    guard records, collective.worldSize > 1 else { return x }
    let out = activation(rows: x.rows, columns: x.columns, value: x.value)
    record { [self] in
      try collective.allReduceSum(gradient(out), count: out.count)
      add(out.memory, toGradientOf: x)
    }
    return out
  }

  /// Megatron's g: sums `x` over the ranks, in place; its backward is the identity. Nothing may have read `x` before, and no
  /// operator whose backward needs its own output may have made it (linear and embedding do not).
  public func leaveParallel(_ x: Activation) throws -> Activation {
    if collective.worldSize > 1 { try collective.allReduceSum(x.value, count: x.count) }
    return x
  }

  /// Causal attention with rotary positions (pairs (i, i + size/2) as Hugging Face's Llama) over sequences of `length` tokens.
  /// qkv: [n, heads * size | groups * size | groups * size], as `linear(_:weights:)` makes it, n a multiple of `length`; only
  /// this may read it, because q and k are rotated in place. rotation: [length, size]: cosines, then sines; kept by the caller.
  /// Keeps the probabilities: n * heads * length floats.
  public func causalAttention(
    _ qkv: Activation, heads: Int, groups: Int, size: Int, length: Int, rotation: UnsafePointer<Float>
  ) -> Activation {
    let (n, stride) = (qkv.rows, (heads + 2 * groups) * size)
    precondition(qkv.columns == stride && n % length == 0 && heads % groups == 0)
    let (qs, square, share) = (heads * size, length * length, heads / groups)
    let scale = 1 / Float(size).squareRoot()
    pk_train_rope_rows(qkv.value, n, heads + groups, size, stride, length, rotation, 1)
    let out = activation(rows: n, columns: qs)
    let pairs = n / length * heads
    let probabilities = scratch(records ? pairs * square : square)
    /// Where the pair's output, query, key and value begin.
    func places(_ pair: Int) -> (out: Int, q: Int, k: Int, v: Int) {
      let (first, head) = (pair / heads * length, pair % heads)
      let key = first * stride + qs + head / share * size
      return (first * qs + head * size, first * stride + head * size, key, key + groups * size)
    }
    for pair in 0..<pairs {
      let at = places(pair)
      let p = probabilities + (records ? pair * square : 0)
      Self.product(length, length, size, qkv.value + at.q, stride, qkv.value + at.k, stride, transposeB: true, p, length, add: false)
      pk_train_causal_softmax(p, length, scale)
      Self.product(length, size, length, p, length, qkv.value + at.v, stride, out.value + at.out, qs, add: false)
    }
    guard records else { return out }
    let work = scratch(square)
    record { [self] in
      precondition(!marks(qkv), "something else has read the input of an attention")
      let (grad, value, dOut) = (qkv.memory, qkv.value, gradient(out))
      for pair in 0..<pairs {
        let at = places(pair)
        let p = probabilities + pair * square
        // The heads of a group share its key and value: the first writes, the others add.
        let adds = pair % heads % share != 0
        Self.product(length, size, length, p, length, transposeA: true, dOut + at.out, qs, grad + at.v, stride, add: adds)
        Self.product(length, length, size, dOut + at.out, qs, value + at.v, stride, transposeB: true, work, length, add: false)
        pk_train_causal_softmax_backward(p, work, length, scale)
        Self.product(length, size, length, work, length, value + at.k, stride, grad + at.q, stride, add: false)
        Self.product(length, size, length, work, length, transposeA: true, value + at.q, stride, grad + at.k, stride, add: adds)
      }
      pk_train_rope_rows(grad, n, heads + groups, size, stride, length, rotation, -1)
    }
    return out
  }
}
