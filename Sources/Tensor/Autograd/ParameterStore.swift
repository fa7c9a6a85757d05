// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core

/// How one rank's part of a parameter lies in the whole [rows, columns] matrix.
public enum ParameterSplit: String, Codable, Sendable {
  /// Every rank holds all of it and must compute the same gradient.
  case replicated
  /// A contiguous range of rows ([out, in]: output features, or tokens of the vocabulary).
  case rows
  /// A contiguous range of columns (input features).
  case columns
}

/// One named parameter: its place in the flat buffers and in the whole matrix.
public struct Parameter: Sendable, Equatable {
  public let name: String
  public let split: ParameterSplit
  /// Of the whole matrix. A vector has one row.
  public let wholeRows: Int
  public let wholeColumns: Int
  public let firstRow: Int
  public let firstColumn: Int
  /// Of this rank's part.
  public let rows: Int
  public let columns: Int
  /// Whether AdamW's weight decay applies.
  public let decays: Bool
  /// First element in the flat buffers.
  public let offset: Int
  public var count: Int { rows * columns }
}

/// All parameters of a model on one rank and their gradients, each in one flat f32 buffer. Used by one thread at a time.
public final class ParameterStore: @unchecked Sendable {  // owned by the compute thread of one rank
  public let parameters: [Parameter]
  /// Elements of each flat buffer; every parameter starts at a multiple of 16 elements, gaps are 0.
  public let count: Int
  public let values: UnsafeMutablePointer<Float>
  public let gradients: UnsafeMutablePointer<Float>
  private let index: [String: Int]

  /// What a model declares: name, whole shape, how it is split, whether it decays.
  public struct Declaration: Sendable {
    public var name: String
    public var rows: Int
    public var columns: Int
    public var split: ParameterSplit
    public var decays: Bool
    public init(_ name: String, rows: Int, columns: Int, split: ParameterSplit, decays: Bool) {
      self.name = name
      self.rows = rows
      self.columns = columns
      self.split = split
      self.decays = decays
    }
  }

  /// Where the part of rank `rank` of `world` lies, rows or columns [size * rank / world, size * (rank + 1) / world), and how many elements
  /// its flat buffers have.
  public static func layout(_ declarations: [Declaration], rank: Int, world: Int) -> (parameters: [Parameter], count: Int) {
    precondition(world > 0 && rank >= 0 && rank < world)
    var offset = 0
    var made: [Parameter] = []
    for d in declarations {
      let rowRange = d.split == .rows ? d.rows * rank / world..<d.rows * (rank + 1) / world : 0..<d.rows
      let columnRange = d.split == .columns ? d.columns * rank / world..<d.columns * (rank + 1) / world : 0..<d.columns
      let parameter = Parameter(
        name: d.name, split: d.split, wholeRows: d.rows, wholeColumns: d.columns, firstRow: rowRange.lowerBound,
        firstColumn: columnRange.lowerBound, rows: rowRange.count, columns: columnRange.count, decays: d.decays,
        offset: offset)
      made.append(parameter)
      offset += (parameter.count + 15) / 16 * 16
    }
    return (made, offset)
  }

  /// Allocates the part of rank `rank` of `world`.
  public init(_ declarations: [Declaration], rank: Int, world: Int) {
    (parameters, count) = Self.layout(declarations, rank: rank, world: world)
    values = .allocate(capacity: max(count, 1))
    gradients = .allocate(capacity: max(count, 1))
    values.initialize(repeating: 0, count: max(count, 1))
    gradients.initialize(repeating: 0, count: max(count, 1))
    index = Dictionary(uniqueKeysWithValues: parameters.enumerated().map { ($1.name, $0) })
  }

  deinit {
    values.deallocate()
    gradients.deallocate()
  }

  /// The parameter called `name`, which must exist.
  public subscript(name: String) -> Parameter {
    guard let position = index[name] else { preconditionFailure("no parameter '\(name)'") }
    return parameters[position]
  }

  public func zeroGradients() { gradients.update(repeating: 0, count: count) }

  /// Fills `parameter` with normal numbers that depend on the seed, its name and the place in the whole matrix only, so that
  /// every layout of ranks starts from the same model.
  public func initializeNormal(_ parameter: Parameter, seed: UInt64, deviation: Float) {
    pk_train_normal(
      values + parameter.offset, parameter.rows, parameter.columns, parameter.firstRow, parameter.firstColumn,
      parameter.wholeColumns, StableHash.hash(parameter.name, seed: SplitMix64.mix(seed)), deviation)
  }

  public func fill(_ parameter: Parameter, with value: Float) {
    (values + parameter.offset).update(repeating: value, count: parameter.count)
  }
}
