// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
//
// The manifest is the architecture diagram: a target may import only what its line names, and only lower layers.
// `PLATFORM_ONLY=Tokenizers,DeltaLog swift test` builds those targets, what they need, and their tests, nothing else.
import PackageDescription

struct Library {
  var name: String
  var depends: [String]
  var products: [String] = []
  var layer: Int
}

/// Products of outside packages: name, package identity, where it comes from, the oldest version that is known to work.
let outside: [(product: String, package: String, url: String, from: Version)] = [
  ("ArgumentParser", "swift-argument-parser", "https://github.com/apple/swift-argument-parser", "1.8.2"),
  ("AsyncHTTPClient", "async-http-client", "https://github.com/swift-server/async-http-client", "1.37.0"),
  ("Hummingbird", "hummingbird", "https://github.com/hummingbird-project/hummingbird", "2.28.1"),
  ("HummingbirdCore", "hummingbird", "https://github.com/hummingbird-project/hummingbird", "2.28.1"),
  ("HTTPTypes", "swift-http-types", "https://github.com/apple/swift-http-types", "1.8.0"),
  ("Logging", "swift-log", "https://github.com/apple/swift-log", "1.16.2"),
  ("NIOCore", "swift-nio", "https://github.com/apple/swift-nio", "2.101.2"),
  ("NIOHTTP1", "swift-nio", "https://github.com/apple/swift-nio", "2.101.2"),
  ("SwiftProtobuf", "swift-protobuf", "https://github.com/apple/swift-protobuf", "1.39.0"),
  ("Yams", "Yams", "https://github.com/jpsim/Yams", "6.2.2"),
]

let libraries: [Library] = [
  // 1 base
  Library(name: "Core", depends: ["CSupport", "CLibCrypto"], products: ["Logging"], layer: 1),
  // 2 adapters
  Library(name: "Postgres", depends: ["Core", "CLibPQ"], layer: 2),
  Library(name: "Transport", depends: ["Core", "CZeroMQ", "CSupport"], products: ["Logging", "SwiftProtobuf"], layer: 2),
  Library(name: "ObjectStore", depends: ["Core", "CSupport"], products: ["AsyncHTTPClient", "NIOCore", "NIOHTTP1"], layer: 2),
  Library(name: "Egress", depends: ["Core", "CMail"], products: ["AsyncHTTPClient", "NIOCore", "NIOHTTP1"], layer: 2),
  Library(name: "DuckDB", depends: ["Core", "CDuckDB"], layer: 2),
  Library(name: "Tensor", depends: ["Core", "CKernels", "COpenBLAS"], layer: 2),
  Library(name: "Tokenizers", depends: ["Core", "COnig"], layer: 2),
  Library(name: "Grammar", depends: ["Core"], layer: 2),
  // 3 engines
  Library(name: "DeltaLog", depends: ["Core", "ObjectStore"], layer: 3),
  Library(name: "Scheduling", depends: ["Core"], layer: 3),
  Library(name: "VectorSearch", depends: ["Core", "CHNSW", "CKernels"], layer: 3),
  Library(name: "Models", depends: ["Core", "Tensor", "Tokenizers", "CKernels", "COpenBLAS"], layer: 3),
  Library(name: "Collectives", depends: ["Core", "Tensor", "Transport", "CSupport"], layer: 3),
  // 4 services
  Library(name: "Catalog", depends: ["Core", "Postgres"], layer: 4),
  Library(name: "Query", depends: ["Core", "Catalog", "DuckDB", "DeltaLog", "ObjectStore", "Postgres"], layer: 4),
  Library(name: "Jobs", depends: ["Core", "Egress", "Scheduling", "Postgres"], products: ["Logging", "Yams"], layer: 4),
  Library(name: "Training", depends: ["Core", "Tensor", "Models", "CKernels", "CSupport"], layer: 4),
  Library(name: "Inference", depends: ["Core", "Tensor", "Models", "Tokenizers", "Grammar", "CKernels", "CSupport"], layer: 4),
  Library(name: "Serving", depends: ["Core", "Catalog", "Postgres", "Transport"], products: ["Logging"], layer: 4),
  // 5 product
  Library(name: "Pipelines", depends: ["Core", "Query", "DuckDB", "Tokenizers"], layer: 5),
  Library(name: "Evaluation", depends: ["Core", "Tokenizers", "Inference"], layer: 5),
  Library(name: "Monitoring", depends: ["Core", "Query", "DuckDB"], layer: 5),
  Library(name: "Workspace", depends: ["Core", "Jobs"], layer: 5),
  Library(name: "Provisioning", depends: ["Core", "Jobs"], layer: 5),
  // 6 surfaces
  Library(name: "Client", depends: ["Core"], products: ["AsyncHTTPClient", "NIOCore", "NIOHTTP1"], layer: 6),
  Library(
    name: "API", depends: ["Core", "Client", "Grammar", "Serving", "Transport", "Console"],
    products: ["Logging", "Hummingbird", "HummingbirdCore", "HTTPTypes", "NIOCore"], layer: 6),
  Library(name: "Console", depends: ["Core", "CConsoleAssets"], layer: 6),
  // 7 roots
  Library(
    name: "Coordinator",
    depends: [
      "Core", "API", "Catalog", "Client", "DeltaLog", "DuckDB", "Egress", "Jobs", "Models", "Monitoring", "ObjectStore", "Pipelines", "Postgres",
      "Query", "Scheduling", "Serving", "Tokenizers", "Transport",
    ], products: ["Logging"], layer: 7),
  Library(
    name: "Worker",
    depends: [
      "Core", "CSupport", "Collectives", "DuckDB", "Evaluation", "Grammar", "Inference", "Models", "Monitoring", "ObjectStore", "Pipelines", "Query", "Tensor",
      "Tokenizers", "Training", "Transport", "VectorSearch",
    ], products: ["Logging"], layer: 7),
]

// 0 C: one system library each, and our own kernels (always optimised, so that debug builds compute at usable speed).
let cTargets: [Target] = [
  .systemLibrary(name: "CLibPQ", providers: [.apt(["libpq-dev"])]),
  .systemLibrary(name: "CLibCrypto", providers: [.apt(["libssl-dev"])]),
  .systemLibrary(name: "CZeroMQ", providers: [.apt(["libzmq3-dev"])]),
  .systemLibrary(name: "COnig", providers: [.apt(["libonig-dev"])]),
  .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
  .target(name: "CDuckDB"),
  .target(name: "CKernels", cSettings: [.unsafeFlags(["-O3", "-ffp-contract=fast", "-fno-math-errno"])]),
  .target(name: "CSupport"),
  .target(name: "CMail"),
  .target(
    name: "CHNSW", dependencies: ["CKernels"], cxxSettings: [.unsafeFlags(["-O3"])], linkerSettings: [.linkedLibrary("stdc++")]),
  .target(name: "CConsoleAssets", exclude: ["assets"], cSettings: [.unsafeFlags(["-std=c23"])]),
]

/// What only the tests of a library import.
let testsAlsoNeed = ["Training": ["Tokenizers"], "Inference": ["Collectives"]]

/// Test targets: the library under test first, then what else the tests import.
let testSuites: [(name: String, depends: [String])] =
  libraries.map { library in
    (
      library.name + "Tests",
      [library.name] + library.depends.filter { name in !cTargets.contains { $0.name == name } } + (testsAlsoNeed[library.name] ?? [])
    )
  } + [
    ("SimulationTests", ["Scheduling", "Core"]),
    ("TidyTests", ["Core"]),
    ("FuzzTests", ["Core", "FuzzTargets"]),
    ("EndToEndTests", ["Core", "Client", "Query", "platform"]),
  ]

/// What the benchmarks against peers measure.
let measured = [
  "Client", "Core", "Collectives", "DeltaLog", "DuckDB", "Inference", "Models", "ObjectStore", "Pipelines", "Postgres", "Query", "Tensor", "Tokenizers",
  "Training", "Transport", "VectorSearch",
]

/// Whose readers of outside bytes `FuzzTests` tries for seconds and `make fuzz` for as long as one likes.
let fuzzed = ["Core", "Grammar", "Models", "Tensor", "Tokenizers"]

let shared: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .treatAllWarnings(as: .error),
]

/// The scheduler and its simulation are optimised in debug builds too, so that `make test` can afford thousands of seeds; grammars because their
/// masks stand in the way of every token.
let alwaysOptimised: Set<String> = ["Scheduling", "SimulationTests", "Grammar"]

func settings(of target: String) -> [SwiftSetting] {
  alwaysOptimised.contains(target) ? shared + [.unsafeFlags(["-O"], .when(configuration: .debug))] : shared
}

/// `names` and everything that they depend on inside this package.
func closure(_ names: [String], into found: Set<String> = []) -> Set<String> {
  names.reduce(into: found) { found, name in
    guard found.insert(name).inserted else { return }
    let extra: [String: [String]] = [
      "CHNSW": ["CKernels"],
      "platform": [
        "Client", "Collectives", "Console", "Coordinator", "Egress", "Inference", "Worker", "Workspace", "Models", "Provisioning", "Tokenizers", "Core",
      ],
      "bench": measured,
      "FuzzTargets": fuzzed,
      "fuzz": ["FuzzTargets"],
    ]
    let next = (extra[name] ?? []) + (libraries.first { $0.name == name }?.depends ?? [])
    found = closure(next, into: found)
  }
}

let only = Context.environment["PLATFORM_ONLY"].map { Set($0.split(separator: ",").map(String.init)) }
let suites = testSuites.filter { suite in
  guard let only else { return true }
  return only.contains(suite.name) || only.contains(String(suite.name.dropLast(5)))
}
let wanted =
  only.map { closure($0.sorted() + suites.flatMap(\.depends)) }
  ?? closure(libraries.map(\.name) + cTargets.map(\.name) + ["platform", "bench"])
let chosen = libraries.filter { wanted.contains($0.name) }
let usedProducts = Set(chosen.flatMap(\.products) + (wanted.contains("platform") ? ["ArgumentParser", "Logging"] : []))

func product(_ name: String) -> Target.Dependency {
  .product(name: name, package: outside.first { $0.product == name }!.package)
}

let package = Package(
  name: "platform",
  products: wanted.contains("platform") ? [.executable(name: "platform", targets: ["platform"])] : [],
  dependencies: outside.enumerated().filter { index, one in
    usedProducts.contains(one.product) && !outside[..<index].contains { $0.package == one.package && usedProducts.contains($0.product) }
  }.map { .package(url: $0.element.url, from: $0.element.from) },
  targets: cTargets.filter { wanted.contains($0.name) }
    + chosen.map { library in
      .target(
        name: library.name,
        dependencies: library.depends.map { .target(name: $0) } + library.products.map(product),
        exclude: library.name == "Transport" ? ["Messages/control.proto"] : [], swiftSettings: settings(of: library.name))
    }
    + (wanted.contains("platform")
      ? [
        .executableTarget(
          name: "platform",
          dependencies: [
            "Client", "Collectives", "Console", "Coordinator", "Egress", "Inference", "Worker", "Workspace", "Models", "Provisioning", "Tokenizers",
            "Transport", "Core",
            product("ArgumentParser"), product("Logging"),
          ],
          swiftSettings: shared)
      ] : [])
    + (wanted.contains("bench")
      ? [
        .executableTarget(name: "bench", dependencies: measured.map { .target(name: $0) }, exclude: ["peers"], swiftSettings: shared)
      ] : [])
    + (only == nil || !suites.isEmpty
      ? [.target(name: "TestSupport", dependencies: ["Core", "CSupport"], path: "Tests/TestSupport", swiftSettings: shared)] : [])
    + (only == nil || wanted.contains("FuzzTargets")
      ? [
        .target(
          name: "FuzzTargets", dependencies: (fuzzed + ["API"]).filter(wanted.contains).map { .target(name: $0) }, path: "Tests/FuzzTargets",
          swiftSettings: shared)
      ] : [])
    // Its `main` is the fuzzer's, which is there with that sanitizer only.
    + (wanted.contains("fuzz")
      ? [
        .executableTarget(
          name: "fuzz", dependencies: ["FuzzTargets"], path: "Tests/Fuzz", exclude: ["run.sh"],
          swiftSettings: shared + [.unsafeFlags(["-parse-as-library"])])
      ] : [])
    + suites.map { suite in
      .testTarget(
        name: suite.name, dependencies: suite.depends.map { .target(name: $0) } + ["TestSupport"],
        swiftSettings: settings(of: suite.name))
    },
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c11,
  cxxLanguageStandard: .cxx17
)
