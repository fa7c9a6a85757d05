// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Reads the manifest and the sources as text and holds them to the rules of the architecture.
@Suite struct LayerTests {
  struct Target {
    var name: String
    var depends: [String]
    var products: [String]
    var layer: Int
  }

  static let root: String = {
    var path = #filePath
    for _ in 0..<3 { path = (path as NSString).deletingLastPathComponent }
    return path
  }()

  static func text(_ relative: String) throws -> String { try String(contentsOfFile: root + "/" + relative, encoding: .utf8) }

  /// The `Library(...)` entries of the manifest.
  static func targets() throws -> [Target] {
    let manifest = try text("Package.swift")
    let pattern = /Library\(\s*name: "(?<name>\w+)",\s*depends: \[(?<depends>[^\]]*)\](?:,\s*products: \[(?<products>[^\]]*)\])?,\s*layer: (?<layer>\d)/
    func list(_ text: Substring?) -> [String] { (text ?? "").matches(of: /"([^"]+)"/).map { String($0.1) } }
    return manifest.matches(of: pattern).map {
      Target(name: String($0.name), depends: list($0.depends), products: list($0.products ?? nil), layer: Int($0.layer)!)
    }
  }

  static func sources(_ folder: String, _ extensions: Set<String> = ["swift"]) throws -> [String] {
    let enumerator = try #require(FileManager.default.enumerator(atPath: root + "/" + folder))
    return enumerator.compactMap { $0 as? String }.filter { extensions.contains(($0 as NSString).pathExtension) }.map { folder + "/" + $0 }.sorted()
  }

  /// Sibling imports that the architecture names.
  static let siblings: Set<String> = ["Query>Catalog", "Serving>Catalog", "API>Client", "API>Console"]

  @Test func everyTargetDependsOnLowerLayersOnly() throws {
    let targets = try Self.targets()
    #expect(targets.count > 20)
    let layers = Dictionary(uniqueKeysWithValues: targets.map { ($0.name, $0.layer) })
    for target in targets {
      for name in target.depends {
        guard let layer = layers[name] else {
          #expect(name.hasPrefix("C"), "\(target.name) depends on the unknown \(name)")
          continue
        }
        #expect(
          layer < target.layer || Self.siblings.contains("\(target.name)>\(name)"), "\(target.name) (\(target.layer)) depends on \(name) (\(layer))")
      }
    }
  }

  @Test func everyImportIsDeclared() throws {
    let targets = try Self.targets()
    let own = Set(targets.map(\.name))
    let always: Set<String> = ["Foundation", "FoundationEssentials", "Synchronization", "Glibc", "Dispatch"]
    for target in targets {
      let declared = Set(target.depends + target.products).union(always)
      for file in try Self.sources("Sources/" + target.name) {
        for match in try Self.text(file).matches(of: /(?m)^(?:public |package |internal |@preconcurrency |@testable )*import (?:struct |class |func )?(\w+)/) {
          let module = String(match.1)
          #expect(declared.contains(module), "\(file) imports \(module), which its target does not declare")
          if own.contains(module) { #expect(target.depends.contains(module), "\(file)") }
        }
      }
    }
  }

  @Test func everyOutsideLibraryHasOneDoor() throws {
    // Three speak HTTP to others: `Client` to the platform, `ObjectStore` to S3, `Egress` to wherever somebody's URL leads. A lower layer
    // cannot use a higher one's client.
    let doors: [String: Set<String>] = [
      "CLibPQ": ["Postgres"], "CZeroMQ": ["Transport"], "CDuckDB": ["DuckDB"], "Hummingbird": ["API"], "AsyncHTTPClient": ["Client", "Egress", "ObjectStore"],
      "SwiftProtobuf": ["Transport"], "Yams": ["Jobs"], "CLibCrypto": ["Core"], "CHNSW": ["VectorSearch"], "COnig": ["Tokenizers"],
    ]
    for target in try Self.targets() {
      for name in target.depends + target.products {
        if let door = doors[name] { #expect(door.contains(target.name), "\(target.name) uses \(name), whose doors are \(door.sorted())") }
      }
    }
  }

  @Test func everyFileNamesItsLicence() throws {
    for file in try Self.sources("Sources", ["swift", "c", "h", "cc", "cpp", "proto"]) + Self.sources("Tests") {
      #expect(try Self.text(file).prefix(120).contains("SPDX-License-Identifier: Apache-2.0"), "\(file)")
    }
  }

  @Test func librariesUseNoBannedCalls() throws {
    let banned: [(String, String)] = [
      ("fatalError(", "throw a PlatformError, or state the invariant with precondition"),
      ("try!", "handle the error"), ("DispatchQueue.main", "there is no main queue in a server"),
      ("innerHTML", "textContent"), ("/wor" + "k/", "no paths of one machine"),
    ]
    for file in try Self.sources("Sources") {
      let text = try Self.text(file)
      for (call, instead) in banned { #expect(!text.contains(call), "\(file) has \(call) - \(instead)") }
      // `print` of the standard library goes to standard output, which belongs to data and to executors' reports.
      for line in text.split(separator: "\n") where line.contains(/(^|[^.\w])print\(/) && !line.contains("static func print") {
        Issue.record("\(file): \(line)")
      }
    }
  }

  @Test func theSchedulerReadsNoClock() throws {
    for file in try Self.sources("Sources/Scheduling") {
      let text = try Self.text(file)
      for call in ["Date()", "ContinuousClock", "SuspendingClock", "DispatchTime", "clock_gettime", "import Foundation", "random(in:", "SystemRandom"] {
        #expect(!text.contains(call), "\(file) uses \(call)")
      }
    }
  }

  @Test func everyErrorNumberIsDocumented() throws {
    var used: Set<String> = []
    for file in try Self.sources("Sources") {
      for match in try Self.text(file).matches(of: /PLT-\d{4}/) { used.insert(String(match.0)) }
    }
    let text = try Self.text("docs/reference/errors.md")
    let page = Set(text.matches(of: /PLT-\d{4}/).map { String($0.0) })
    let lines = text.split(separator: "\n").compactMap { $0.prefixMatch(of: /\| (PLT-\d{4}) \|/).map { String($0.1) } }
    #expect(lines.count == Set(lines).count, "twice: \(Dictionary(grouping: lines) { $0 }.filter { $1.count > 1 }.keys.sorted())")
    #expect(used.subtracting(page).isEmpty, "not documented: \(used.subtracting(page).sorted())")
    #expect(page.subtracting(used).isEmpty, "documented, but used nowhere: \(page.subtracting(used).sorted())")
  }
}
