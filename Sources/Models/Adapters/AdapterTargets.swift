// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// A matrix that an adapter can change.
enum AdapterPlace: Hashable, Sendable {
  enum Projection: Int, CaseIterable, Sendable { case query, key, value, output, gate, up, down }
  case layer(Int, Projection)
  case head
}

/// The linear layers of a decoder that adapters can change, by the names that its class in `transformers` has for them.
///
/// A module may be several of our matrices (`qkv_proj`), or one; which rows of its weight each has is what its `MatrixPlan` says. Of a model in parts these
/// are the rows that one rank computes.
public struct AdapterTargets: Sendable {
  struct Part {
    var place: AdapterPlace
    var plan: MatrixPlan

    /// Which output of the module each row of the matrix is.
    var outputs: [Int] {
      (0..<plan.rows).map { row in
        let first = plan.offset + row / plan.group * plan.groupStride + row % plan.group * plan.rowStride
        return plan.isTransposed ? first % plan.stored[1] : first / plan.columns
      }
    }
  }
  struct Module {
    var inputs: Int
    var outputs: Int
    var parts: [Part] = []
  }

  private(set) var modules: [String: Module] = [:]
  let layerCount: Int
  /// Equal for models whose layers have the same names and sizes.
  let signature: String

  init(layerCount: Int, _ matrices: [(place: AdapterPlace, plan: MatrixPlan)]) {
    self.layerCount = layerCount
    for (place, plan) in matrices where plan.stored.count == 2 && plan.tensor.hasSuffix(".weight") {
      let outputs = plan.stored[plan.isTransposed ? 1 : 0]
      modules[String(plan.tensor.dropLast(".weight".count)), default: Module(inputs: plan.columns, outputs: outputs)].parts.append(
        Part(place: place, plan: plan))
    }
    signature = SHA256Digest.hex(modules.map { "\($0.key) \($0.value.inputs) \($0.value.outputs)" }.sorted().joined(separator: "\n"))
  }

  /// The ends of the modules' names, for people.
  var kinds: [String] { Set(modules.keys.map { String($0.split(separator: ".").last ?? "") }).sorted() }

  /// Of a model folder or GGUF file. Loads nothing.
  /// - Throws: as `DecoderModel.check`.
  public static func read(directory: String) throws -> AdapterTargets { try AdapterTargets(DecoderModel.planned(directory: directory).plan) }
}

extension MatrixPlan {
  /// GPT-2 stores [inputs, outputs].
  fileprivate var isTransposed: Bool { columnStride != 1 }
}

extension AdapterTargets {
  init(_ plan: DecoderPlan, part: ModelPart = .whole) throws {
    func own(_ matrix: MatrixPlan) -> MatrixPlan { matrix.part(part.range(matrix.rows)) }
    var matrices: [(AdapterPlace, MatrixPlan)] = [(.head, own(MatrixPlan(plan.head, plan.vocabularySize, plan.hiddenSize)))]
    for index in 0..<plan.layerCount {
      let layer = try plan.layer(index)
      let attention = layer.attention
      let (heads, keyHeads) = part.heads(attention.heads, attention.keyValueHeads, of: part.rank)
      func ofHeads(_ matrix: MatrixPlan, _ heads: Range<Int>) -> MatrixPlan {
        matrix.part(heads.lowerBound * attention.headSize..<heads.upperBound * attention.headSize)
      }
      matrices += [
        (.layer(index, .query), ofHeads(attention.query, heads)), (.layer(index, .key), ofHeads(attention.key, keyHeads)),
        (.layer(index, .value), ofHeads(attention.value, keyHeads)), (.layer(index, .output), own(attention.output)),
      ]
      guard case .dense(let block) = layer.mixer else { continue }
      if let gate = block.gate { matrices.append((.layer(index, .gate), own(gate))) }
      matrices += [(.layer(index, .up), own(block.up)), (.layer(index, .down), own(block.down))]
    }
    self.init(layerCount: plan.layerCount, matrices)
  }

  init(_ c: LlamaConfiguration) {
    func plan(_ tensor: String, _ rows: Int, _ columns: Int) -> MatrixPlan {
      MatrixPlan(tensor: tensor, stored: [rows, columns], first: 0, rows: rows, columns: columns)
    }
    var matrices: [(AdapterPlace, MatrixPlan)] = [(.head, plan(LlamaWeightNames.head, c.vocabularySize, c.hiddenSize))]
    for index in 0..<c.layerCount {
      let names = LlamaWeightNames.layer(index)
      matrices += [
        (.layer(index, .query), plan(names.query, c.queryWidth, c.hiddenSize)), (.layer(index, .key), plan(names.key, c.keyValueWidth, c.hiddenSize)),
        (.layer(index, .value), plan(names.value, c.keyValueWidth, c.hiddenSize)), (.layer(index, .output), plan(names.output, c.hiddenSize, c.queryWidth)),
        (.layer(index, .gate), plan(names.gate, c.intermediateSize, c.hiddenSize)), (.layer(index, .up), plan(names.up, c.intermediateSize, c.hiddenSize)),
        (.layer(index, .down), plan(names.down, c.hiddenSize, c.intermediateSize)),
      ]
    }
    self.init(layerCount: c.layerCount, matrices)
  }
}
