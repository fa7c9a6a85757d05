// SPDX-License-Identifier: Apache-2.0

import Core
public import Models

/// The adapters of an engine that are in memory: loaded when a request first asks, and let go, the one that was asked for longest ago first, when
/// another one needs the place and no request has it. Requests wait for a place, in no order.
public actor AdapterStore {
  /// Which adapter: one that is served under another name, or from another folder, is another one.
  public struct Reference: Hashable, Sendable {
    public var name: String
    public var directory: String
    public init(name: String, directory: String) {
      self.name = name
      self.directory = directory
    }
  }

  private struct Entry {
    var loading: Task<LoRAAdapter, any Error>
    var users = 0
    var lastUsed: UInt64 = 0
  }

  private let model: any GenerativeModel
  /// The most that are in memory at once.
  public let limit: Int
  private let thread = BlockingPool(name: "adapters", threads: 1, queueLimit: 1024)
  private var entries: [Reference: Entry] = [:]
  private var uses: UInt64 = 0
  private var waiting: [UInt64: CheckedContinuation<Void, Never>] = [:]
  private var waits: UInt64 = 0

  /// - Parameter model: of the engine.
  public init(model: any GenerativeModel, limit: Int) {
    precondition(limit > 0)
    self.model = model
    self.limit = limit
  }

  /// In memory, or being loaded.
  public var residents: [Reference] { entries.keys.sorted { $0.name < $1.name } }

  /// Runs `body` with the adapter, which stays in memory until `body` ends.
  /// - Throws: `invalidArgument` (PLT-4506) when the model takes none, what `LoRAAdapter.init` throws, or `CancellationError` while it waits.
  public nonisolated func with<T>(_ reference: Reference, _ body: (LoRAAdapter) async throws -> T) async throws -> T {
    let adapter = try await take(reference)
    do {
      let result = try await body(adapter)
      await giveBack(reference)
      return result
    } catch {
      await giveBack(reference)
      throw error
    }
  }

  private func take(_ reference: Reference) async throws -> LoRAAdapter {
    guard let targets = model.adapterTargets else {
      throw PlatformError(.invalidArgument, "the model takes no adapters", number: "PLT-4506")
    }
    while entries[reference] == nil {
      if entries.count >= limit {
        if let oldest = entries.filter({ $0.value.users == 0 }).min(by: { $0.value.lastUsed < $1.value.lastUsed })?.key {
          entries[oldest] = nil
        } else {
          try await waitForPlace()
          continue
        }
      }
      let (thread, model) = (thread, model)
      entries[reference] = Entry(
        loading: Task {
          try await thread.run {
            let adapter = try LoRAAdapter(name: reference.name, directory: reference.directory, targets: targets)
            try model.admit(adapter, directory: reference.directory)
            return adapter
          }
        })
    }
    uses += 1
    entries[reference]?.lastUsed = uses
    entries[reference]?.users += 1
    guard let loading = entries[reference]?.loading else { preconditionFailure("an adapter went while it was taken") }
    do {
      return try await loading.value
    } catch {
      // The next request tries again: the folder may have been mended.
      if entries[reference]?.loading == loading { entries[reference] = nil }
      wakeAll()
      throw error
    }
  }

  private func giveBack(_ reference: Reference) {
    entries[reference]?.users -= 1
    if entries[reference]?.users == 0 { wakeAll() }
  }

  private func waitForPlace() async throws {
    waits += 1
    let number = waits
    await withTaskCancellationHandler {
      await withCheckedContinuation { waiting[number] = $0 }
    } onCancel: {
      Task { await self.wake(number) }
    }
    try Task.checkCancellation()
  }

  private func wake(_ number: UInt64) { waiting.removeValue(forKey: number)?.resume() }
  private func wakeAll() { for number in waiting.keys.sorted() { wake(number) } }
}
