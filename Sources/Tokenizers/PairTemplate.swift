// SPDX-License-Identifier: Apache-2.0

/// How a model's tokenizer joins two texts, as `post_processor` of a `tokenizer.json` says, and of which type each token is.
public struct PairTemplate: Sendable, Equatable {
  public enum Piece: Sendable, Equatable {
    case first(type: Int32)
    case second(type: Int32)
    case token(Int32, type: Int32)
  }

  public var pieces: [Piece]

  /// One text behind the other.
  init() { pieces = [.first(type: 0), .second(type: 1)] }

  /// nil when the processor is of an unknown kind, or has no template for two texts.
  init?(_ processor: ByteJSON?) {
    self.init()
    guard let processor, !processor.isNull else { return }
    switch processor["type"]?.text {
    case "ByteLevel": break
    case "Sequence":
      for part in processor["processors"]?.items ?? [] where part["type"]?.text != "ByteLevel" {
        guard let template = PairTemplate(part) else { return nil }
        self = template
      }
    case "BertProcessing":
      guard let start = processor["cls"]?.items?.last?.id, let end = processor["sep"]?.items?.last?.id else { return nil }
      pieces = [.token(start, type: 0), .first(type: 0), .token(end, type: 0), .second(type: 1), .token(end, type: 1)]
    case "RobertaProcessing":
      guard let start = processor["cls"]?.items?.last?.id, let end = processor["sep"]?.items?.last?.id else { return nil }
      pieces = [
        .token(start, type: 0), .first(type: 0), .token(end, type: 0), .token(end, type: 0), .second(type: 0), .token(end, type: 0),
      ]
    case "TemplateProcessing":
      pieces = []
      for piece in processor["pair"]?.items ?? [] {
        if let sequence = piece["Sequence"], let type = sequence["type_id"]?.id {
          pieces.append(sequence["id"]?.text == "A" ? .first(type: type) : .second(type: type))
        } else if let token = piece["SpecialToken"], let name = token["id"]?.text, let type = token["type_id"]?.id {
          for id in processor["special_tokens"]?[name]?["ids"]?.items?.compactMap(\.id) ?? [] { pieces.append(.token(id, type: type)) }
        }
      }
    default: return nil
    }
    func count(_ isText: (Piece) -> Bool) -> Int { pieces.count(where: isText) }
    guard count({ if case .first = $0 { true } else { false } }) == 1, count({ if case .second = $0 { true } else { false } }) == 1 else { return nil }
  }

  /// Ids beside those of the texts.
  public var addedCount: Int { pieces.count - 2 }

  /// The two texts as one sequence of at most `maximumLength` ids, and the type of each. What is too long is cut at its end: first the longer
  /// text, then both to halves (`longest_first` of Hugging Face's `tokenizers`).
  public func join(_ first: [Int32], _ second: [Int32], maximumLength: Int) -> (ids: [Int32], types: [Int32]) {
    let (firstCount, secondCount) = Self.kept(first.count, second.count, of: max(0, maximumLength - addedCount))
    var ids: [Int32] = []
    var types: [Int32] = []
    func add(_ tokens: ArraySlice<Int32>, _ type: Int32) {
      ids += tokens
      types += [Int32](repeating: type, count: tokens.count)
    }
    for piece in pieces {
      switch piece {
      case .first(let type): add(first.prefix(firstCount), type)
      case .second(let type): add(second.prefix(secondCount), type)
      case .token(let id, let type): add([id], type)
      }
    }
    return (ids, types)
  }

  /// How many ids stay of two texts when there is room for `room`.
  static func kept(_ first: Int, _ second: Int, of room: Int) -> (Int, Int) {
    guard first + second > room else { return (first, second) }
    var (short, long) = first <= second ? (first, second) : (second, first)
    long = short > room ? short : max(short, room - short)
    if short + long > room {
      short = room / 2
      long = short + room % 2
    }
    return first <= second ? (short, long) : (long, short)
  }
}
