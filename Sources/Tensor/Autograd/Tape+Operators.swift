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
    record { [self] in pk_train_embed_backward(ids, count, table.columns, out.gradient, first, rows, gradient(table)) }
    return out
  }

  /// x: [n, in] times the transpose of weight [out, in]; no bias.
  public func linear(_ x: Activation, weight: Parameter) -> Activation {
    precondition(x.columns == weight.columns)
    let (n, inputs, outputs) = (x.rows, weight.columns, weight.rows)
    let out = activation(rows: n, columns: outputs)
    Self.product(
      n, outputs, inputs, x.value, inputs, value(weight), inputs, transposeB: true, out.value, outputs, add: false)
    record { [self] in
      Self.product(n, inputs, outputs, out.gradient, outputs, value(weight), inputs, x.gradient, inputs, add: true)
      Self.product(
        outputs, inputs, n, out.gradient, outputs, transposeA: true, x.value, inputs, gradient(weight), inputs, add: true)
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
        x.value, value(gain), inverse, out.gradient, x.rows, x.columns, x.gradient, gradient(gain))
    }
    return out
  }

  public func add(_ a: Activation, _ b: Activation) -> Activation {
    precondition(a.rows == b.rows && a.columns == b.columns)
    let out = activation(rows: a.rows, columns: a.columns)
    pk_train_sum(out.value, a.value, b.value, a.count)
    record {
      pk_train_add(a.gradient, out.gradient, out.count)
      pk_train_add(b.gradient, out.gradient, out.count)
    }
    return out
  }

  /// silu(gate) * up (Shazeer, 2020).
  public func swiGLU(gate: Activation, up: Activation) -> Activation {
    precondition(gate.rows == up.rows && gate.columns == up.columns)
    let out = activation(rows: gate.rows, columns: gate.columns)
    pk_train_swiglu(gate.value, up.value, gate.count, out.value)
    record { pk_train_swiglu_backward(gate.value, up.value, out.gradient, out.count, gate.gradient, up.gradient) }
    return out
  }

  /// Megatron's f: the identity; its backward sums the gradient over the ranks.
  public func enterParallel(_ x: Activation) -> Activation {
    guard records, collective.worldSize > 1 else { return x }
    let out = Activation(rows: x.rows, columns: x.columns, value: x.value, gradient: zeros(x.count))
    record { [self] in
      try collective.allReduceSum(out.gradient, count: out.count)
      pk_train_add(x.gradient, out.gradient, out.count)
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
  /// q: [n, heads * size], k and v: [n, groups * size], n a multiple of `length`; q and k are rotated in place.
  /// rotation: [length, size]: cosines, then sines; kept by the caller. Keeps the probabilities: n * heads * length floats.
  public func causalAttention(
    q: Activation, k: Activation, v: Activation, heads: Int, groups: Int, size: Int, length: Int,
    rotation: UnsafePointer<Float>
  ) -> Activation {
    precondition(q.columns == heads * size && k.columns == groups * size && v.columns == groups * size)
    precondition(q.rows % length == 0 && heads % groups == 0)
    let n = q.rows
    let (qs, ks, square) = (heads * size, groups * size, length * length)
    let scale = 1 / Float(size).squareRoot()
    pk_train_rope(q.value, n, heads, size, length, rotation, 1)
    pk_train_rope(k.value, n, groups, size, length, rotation, 1)
    let out = activation(rows: n, columns: qs)
    let pairs = n / length * heads
    let probabilities = scratch(records ? pairs * square : square)
    for pair in 0..<pairs {
      let (sequence, head) = (pair / heads, pair % heads)
      let query = sequence * length * qs + head * size
      let key = sequence * length * ks + head / (heads / groups) * size
      let p = probabilities + (records ? pair * square : 0)
      Self.product(length, length, size, q.value + query, qs, k.value + key, ks, transposeB: true, p, length, add: false)
      pk_train_causal_softmax(p, length, scale)
      Self.product(length, size, length, p, length, v.value + key, ks, out.value + query, qs, add: false)
    }
    guard records else { return out }
    let work = scratch(square)
    record {
      for pair in 0..<pairs {
        let (sequence, head) = (pair / heads, pair % heads)
        let query = sequence * length * qs + head * size
        let key = sequence * length * ks + head / (heads / groups) * size
        let p = probabilities + pair * square
        let dOut = out.gradient + query
        Self.product(length, size, length, p, length, transposeA: true, dOut, qs, v.gradient + key, ks, add: true)
        Self.product(length, length, size, dOut, qs, v.value + key, ks, transposeB: true, work, length, add: false)
        pk_train_causal_softmax_backward(p, work, length, scale)
        Self.product(length, size, length, work, length, k.value + key, ks, q.gradient + query, qs, add: true)
        Self.product(
          length, size, length, work, length, transposeA: true, q.value + query, qs, k.gradient + key, ks, add: true)
      }
      pk_train_rope(q.gradient, n, heads, size, length, rotation, -1)
      pk_train_rope(k.gradient, n, groups, size, length, rotation, -1)
    }
    return out
  }
}
