// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

extension EndpointsCommand {
  /// From a model's name to an endpoint that answers.
  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Serve a model: fetch it, register it, start its replicas, and wait until they answer.",
      discussion: """
        MODEL is hf:ORG/NAME[@REVISION], the URL of a GGUF file, a folder or GGUF file of this machine, or a registered model (catalog.schema.model, with
        @alias or /version). All but registered ones are first pulled as by 'platform pull' and registered as by 'platform models import', which needs the
        coordinator's machine; a revision of the hub that is registered already is not copied again. Then one task, as 'deploy_task' of a workflow, loads
        the model to see that it can be served, and starts the replicas. Ctrl-C leaves that going on.

        Language models are served with weights of 8 bits (those of GGUF files in 4 bits stay as they are), encoders and rerankers with the stored numbers;
        --dtype says otherwise. --dtype f32 gives the stored numbers, int4 half the memory of int8.

        EXAMPLES
          platform endpoints create assistant hf:HuggingFaceTB/SmolLM2-135M-Instruct
          platform endpoints create assistant hf:bartowski/SmolLM2-135M-Instruct-GGUF --include '*Q8_0.gguf' --replace
          platform endpoints create vectors ./all-MiniLM-L6-v2 --replicas 2
          platform endpoints create polite main.demo.chat@champion --adapter polite-de=main.demo.german
        """)
    @Argument(help: "The endpoint, which is the model's name for clients: letters, digits, '_', '-' and '.'.") var name: String
    @Argument(help: "hf:ORG/NAME, a URL, a folder or file, or a registered model.") var model: String
    @Option(name: .customLong("as"), help: "Registered model that it becomes. Default: main.default and the endpoint's name.") var registered: String?
    @Option(help: "Files of the hub's model to fetch, as in '*Q4_0.gguf'. May be given several times.") var include: [String] = []
    @Option(name: .long, help: "SHA-256 that the file of a URL must have.") var sha256: String?
    @Flag(help: "Also when there is an endpoint of this name: its replicas are replaced one by one.") var replace = false
    @Option(help: "How many replicas.") var replicas = 1
    @Option(help: "Form of the weights: auto, f32 (as stored), bf16, int8 or int4.") var dtype = "auto"
    @Option(help: "Threads of each replica. Default: the processors of a worker's machine, shared among its replicas.") var threads: Int?
    @Option(help: "Split each replica over this many processes.") var tensorParallel: Int?
    @Option(help: "Form of keys and values: auto, f32, bf16 or int8.") var kvCacheDtype: String?
    @Option(help: "Room for keys and values of each replica, as in 2GB. Default: 256MB.") var kvCacheMemory: String?
    @Option(help: "Guess up to this many tokens from the text so far; answers stay the same.") var speculate: Int?
    @Option(help: "A LoRA adapter that is served beside it: NAME=catalog.schema.model. May be given several times.") var adapter: [String] = []
    @Option(help: "Wait this many seconds for the replicas; 0: do not wait.") var wait = 600
    @OptionGroup var options: ClientOptions

    func run() async throws {
      let client = try options.client()
      let list: EndpointList = try await client.get("/api/2.0/serving-endpoints")
      let adapters = try EndpointRequest.adapters(adapter)
      try EndpointRequest.check(name: name, wait: wait, isReplaced: replace, among: list.endpoints)
      let uri = try await registeredModel(client)
      var body: [String: JSONValue] = [
        "endpoint": .string(name), "model": .string(uri), "replicas": .integer(Int64(replicas)), "dtype": .string(dtype),
      ]
      let nodes: NodeList = try await client.get("/api/2.0/nodes")
      let threads = threads ?? EndpointRequest.threads(replicas: replicas * max(1, tensorParallel ?? 1), nodes: nodes.nodes)
      body["threads"] = .integer(Int64(threads))
      body["tensor_parallel"] = tensorParallel.map { .integer(Int64($0)) }
      body["kv_cache_dtype"] = kvCacheDtype.map { .string($0) }
      body["kv_cache_memory"] = kvCacheMemory.map { .string($0) }
      body["speculate"] = speculate.map { .integer(Int64($0)) }
      if !adapters.isEmpty { body["adapters"] = .object(adapters.mapValues { .string($0) }) }

      let job = OneTaskRun(key: "deploy", name: "serve \(name)", body: ["deploy_task": .object(body)])
      let run = try await job.submit(client)
      guard wait > 0 else {
        if options.output == .name { return Report.data(name) }
        if options.output.isStructured { return try Report.structured(["run_id": run, "endpoint": name], options.output) }
        Report.note("\(name) is being deployed.  Next: platform runs watch \(run)")
        return Report.data(run)
      }
      let processes = (replicas == 1 ? "1 replica" : "\(replicas) replicas") + " with " + (threads == 1 ? "1 thread" : "\(threads) threads")
      Report.note("  run \(run): checking \(uri), then starting \(processes) (Ctrl-C leaves it going on)")
      guard let ended = try await job.wait(run, client: client, seconds: wait) else {
        let now: EndpointInfo? = try? await client.get("/api/2.0/serving-endpoints/\(segment(name))")  // none until its replicas are ready
        throw PlatformError(
          .timeout, "\(name) was not ready within \(wait) s\(now.map { ": \($0.ready) of \($0.desiredReplicas) replicas are" } ?? ""); its run \(run) goes on",
          hint: "See 'platform runs get \(run)' and 'platform nodes list'; 'platform runs cancel \(run)' ends it.", number: "PLT-4546")
      }
      _ = try job.succeeded(ended)
      let endpoint: EndpointInfo = try await client.get("/api/2.0/serving-endpoints/\(segment(name))")
      if options.output == .name { return Report.data(name) }
      if options.output.isStructured { return try Report.structured(endpoint, options.output) }
      Report.note("\(Report.check) \(name) serves \(uri): \(endpoint.ready)/\(endpoint.desiredReplicas) replicas ready")
      Report.note("  Next  \(Self.next(endpoint))")
    }

    /// The registered model that MODEL means; what is not registered is fetched and becomes a version.
    private func registeredModel(_ client: PlatformClient) async throws -> String {
      if EndpointRequest.isRegistered(model) && !FileManager.default.fileExists(atPath: model) {
        guard include.isEmpty, sha256 == nil, registered == nil else {
          throw PlatformError(
            .invalidArgument, "--include, --sha256 and --as are for models that are not registered; '\(model)' is one of the catalog", number: "PLT-4545")
        }
        return model.hasPrefix("models:/") ? String(model.dropFirst("models:/".count)) : model
      }
      let target = registered ?? EndpointRequest.registeredName(name)
      _ = try CatalogCalls.split(target, 3, "catalog.schema.model")
      let pulled = try await Self.source(model).pull(include: include, sha256: sha256)
      if pulled.commit != nil || pulled.fetchedFiles > 0 { Report.note("\(Report.check) \(model): \(pulled.summary)") }
      // What the hub has under one commit never changes.
      let origin = pulled.commit.map { "\(model.split(separator: "@")[0])@\($0)" + include.sorted().map { " \($0)" }.joined() }
      if let origin, let known = try await Self.version(of: target, from: origin, client) {
        Report.note("\(Report.check) \(target) version \(known) has it")
        return "\(target)/\(known)"
      }
      let registration = try ModelRegistration(directory: pulled.path)
      let made = try await registration.register(target, comment: origin, client: client)
      Report.note("\(Report.check) \(target) version \(made.version): \(registration.summary)")
      return "\(target)/\(made.version)"
    }

    /// The newest version that was made of `origin`.
    private static func version(of model: String, from origin: String, _ client: PlatformClient) async throws -> Int? {
      do {
        let versions = try await CatalogCalls.all(client, "models/\(segment(model))/versions", as: ModelVersionInfo.self)
        return versions.entries.filter { $0.status == "READY" && $0.comment == origin }.map(\.version).max()
      } catch let error as PlatformError where error.code == .notFound {
        return nil
      }
    }

    /// - Throws: `notFound` PLT-5223 with what was probably meant.
    private static func source(_ model: String) throws -> ModelSource {
      let source = try ModelSource(model)
      guard case .here(let path) = source, !FileManager.default.fileExists(atPath: path) else { return source }
      let isHubs = path.split(separator: "/", omittingEmptySubsequences: false).count == 2 && !path.hasPrefix(".") && !path.hasPrefix("/")
      throw PlatformError(
        .notFound, "there is no folder, file or registered model '\(path)'",
        hint: isHubs ? "A model of the hub is hf:\(path)." : "A model of the hub is hf:ORG/NAME, a registered one catalog.schema.model.",
        number: "PLT-5223", path: path)
    }

    /// The command that shows that it answers.
    private static func next(_ endpoint: EndpointInfo) -> String {
      switch endpoint.kind {
      case "generate": "platform chat \(endpoint.name)"
      case "rerank": "platform rerank \(endpoint.name) --query 'how do I list open files' FILE"
      default: "platform embed \(endpoint.name) 'how do I list open files'"
      }
    }
  }
}
