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
    for span in spans {
      guard let pair = span.adapter.pair(place) else { continue }
      let (rows, rank, outputs) = (span.rows.count, pair.down.rows, pair.up.rows)
      let inner = scratch(.adapterInner, rows * rank)
      linear(pair.down, x + span.rows.lowerBound * pair.down.columns, inner, rows: rows)
      if pair.scale != 1 { pk_scale(inner, pair.scale, rows * rank) }
      let added = scratch(.adapterAdded, rows * outputs)
      linear(pair.up, inner, added, rows: rows)
      pk_add(y + span.rows.lowerBound * outputs, added, rows * outputs)
    }
  }

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
