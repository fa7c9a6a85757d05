// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

extension ModelsCommand {
  struct Import: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Register a model folder of this machine as a new version.",
      discussion: """
        DIR is a folder in Hugging Face layout with config.json, safetensors and tokenizer.json, a GGUF file, or a LoRA adapter in PEFT's layout. Its files are copied into the platform's storage,
        which has to be reachable from here: run the command on the coordinator's machine. The model is made when there is none of that name.
        Serve it with 'platform endpoints create', or with a task 'deploy_task: { endpoint: NAME, model: catalog.schema.model }' of a workflow; adapters
        are its 'adapters'.
        """)
    @Argument(help: "catalog.schema.model") var name: String
    @Argument(help: ArgumentHelp("Folder of the model, or a GGUF file.", valueName: "dir")) var directory: String
    @Option(help: "What the version is.") var comment: String?
    @OptionGroup var options: ClientOptions

    func run() async throws {
      let registration = try ModelRegistration(directory: directory)
      let ready = try await registration.register(name, comment: comment, client: options.client())
      if options.output.isStructured { return try Report.structured(ready, options.output) }
      Report.note("\(Report.check) \(name) version \(ready.version): \(registration.summary)")
    }
  }
}
