// SPDX-License-Identifier: Apache-2.0

import CKernels

/// Consecutive rows of a step that one adapter changes.
public struct AdapterSpan: Sendable {
  public var rows: Range<Int>
  public var adapter: LoRAAdapter

  public init(rows: Range<Int>, adapter: LoRAAdapter) {
    self.rows = rows
    self.adapter = adapter
  }
}

/// The adapters of a step's rows in one layer.
struct AdaptedLayer {
  var spans: [AdapterSpan]
  var index: Int
}

extension BlockRunner {
  /// y: [rows, outputs] += scale * (x down) up for the rows that have an adapter. What a row gets depends on the row and its adapter alone, bit for bit.
  /// - Parameter x: [rows, inputs]
  func adapt(_ spans: [AdapterSpan], _ place: AdapterPlace, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>) {
    let work = spans.compactMap { span in span.adapter.pair(place).map { (rows: span.rows, pair: $0) } }
    guard let inputs = work.first?.pair.down.columns, let outputs = work.first?.pair.up.rows else { return }
    let cost = work.reduce(0) { $0 + $1.rows.count * $1.pair.down.rows * (inputs + outputs) }
    guard threads > 1, work.count > 1, cost >= Self.sharedCost else {
      for (rows, pair) in work {
        let inner = scratch(.adapterInner, rows.count * pair.down.rows)
        linear(pair.down, x + rows.lowerBound * inputs, inner, rows: rows.count)
        if pair.scale != 1 { pk_scale(inner, pair.scale, rows.count * pair.down.rows) }
        let added = scratch(.adapterAdded, rows.count * outputs)
        linear(pair.up, inner, added, rows: rows.count)
        pk_add(y + rows.lowerBound * outputs, added, rows.count * outputs)
      }
      return
    }
    // Many small products: each is one thread's.
    let starts = work.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.rows.count * $1.pair.down.rows) }
    let inner = scratch(.adapterInner, starts[work.count])
    let rowStarts = work.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.rows.count) }
    let added = scratch(.adapterAdded, rowStarts[work.count] * outputs)
    parallel(work.count) { [isa] index in
      let (rows, pair) = work[index]
      let (own, sum) = (inner + starts[index], added + rowStarts[index] * outputs)
      let rank = pair.down.rows
      pk_linear(isa, pair.down.type, x + rows.lowerBound * inputs, pair.down.weights, nil, own, rows.count, rank, inputs, 0, rank)
      if pair.scale != 1 { pk_scale(own, pair.scale, rows.count * rank) }
      pk_linear(isa, pair.up.type, own, pair.up.weights, nil, sum, rows.count, outputs, rank, 0, outputs)
      pk_add(y + rows.lowerBound * outputs, sum, rows.count * outputs)
    }
  }

  /// Multiplications from which on several threads share the adapters of a step. A hand-over costs some 10 us.
  private static let sharedCost = 1 << 20

  func adapt(_ layer: AdaptedLayer, _ projection: AdapterPlace.Projection, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>) {
    if !layer.spans.isEmpty { adapt(layer.spans, .layer(layer.index, projection), x, y) }
  }
}

extension DecoderBatch {
  /// The adapters of the rows in `outputs`, by their place there.
  var outputAdapters: [AdapterSpan] {
    adapters.compactMap { span in
      let first = outputs.firstIndex { $0 >= span.rows.lowerBound } ?? outputs.count
      let end = outputs.firstIndex { $0 >= span.rows.upperBound } ?? outputs.count
      return first < end ? AdapterSpan(rows: first..<end, adapter: span.adapter) : nil
    }
  }
}
