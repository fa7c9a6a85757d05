// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Core
import Foundation
import Glibc

/// `platform`: one binary for every process and every command.
@main
struct Platform: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "platform",
    abstract: "A lakehouse AI platform on machines you own.",
    discussion: """
      EXAMPLES
        platform up --workers 2            start a cluster on this machine
        platform demo                      run the whole lifecycle on real documents
        platform submit workflow.yml --watch
        platform sql "select count(*) from main.demo.documents"
        platform endpoints create assistant hf:HuggingFaceTB/SmolLM2-135M-Instruct
        platform chat                      talk to the model that is served
      """,
    version: PlatformVersion.current,
    subcommands: [
      UpCommand.self, DownCommand.self, StatusCommand.self, OpenCommand.self, DemoCommand.self, DoctorCommand.self, EnvCommand.self,
      InitCommand.self, ValidateCommand.self, PlanCommand.self, DeployCommand.self, SummaryCommand.self, RunKeyCommand.self, DestroyCommand.self,
      GenerateCommand.self, SchemaCommand.self, ExplainCommand.self,
      SubmitCommand.self, JobsCommand.self, RunsCommand.self, DestinationsCommand.self, ReposCommand.self, GitCredentialsCommand.self, SQLCommand.self,
      ImportCommand.self,
      IndexCommand.self,
      ChatCommand.self, EmbedCommand.self, RerankCommand.self, PsCommand.self, StopCommand.self, ScaleCommand.self,
      CatalogsCommand.self, SchemasCommand.self, TablesCommand.self, VolumesCommand.self, FunctionsCommand.self,
      ModelsCommand.self, LineageCommand.self, PullCommand.self, ModelCommand.self, TokenizeCommand.self, DetokenizeCommand.self,
      ConnectionsCommand.self, CredentialsCommand.self, UsersCommand.self, LocationsCommand.self, FilesCommand.self,
      EndpointsCommand.self, NodesCommand.self, JoinCommand.self, TokenCommand.self, BackupCommand.self, UpgradeCommand.self,
      EventsCommand.self, LogsCommand.self, TopCommand.self, BenchCommand.self,
      SuperviseCommand.self, KeepCommand.self, CoordinatorCommand.self, WorkerCommand.self, ExecutorCommand.self,
    ])

  static func main() async {
    ProcessSupport.ignoreBrokenPipes()
    do {
      try refuseUnknownCommand(Array(CommandLine.arguments.dropFirst()))
      var command = try parseAsRoot()
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch let error as PlatformError {
      Report.failure(error, json: wantsJSON(CommandLine.arguments))
      Glibc.exit(ExitCodes.of(error.code))
    } catch is CancellationError {
      Glibc.exit(130)
    } catch {
      exit(withError: error)
    }
  }

  /// A misspelt command is answered with the closest one.
  private static func refuseUnknownCommand(_ arguments: [String]) throws {
    var here: [any ParsableCommand.Type] = configuration.subcommands
    var path = "platform"
    for word in arguments.prefix(2) {
      guard !here.isEmpty, !word.hasPrefix("-") else { return }
      let names = here.flatMap { [$0._commandName] + $0.configuration.aliases } + ["help"]
      guard let next = here.first(where: { ([$0._commandName] + $0.configuration.aliases).contains(word) }) else {
        if word == "help" || word.hasPrefix("__") { return }
        let close = Spelling.suggestion(for: word, among: names)
        throw PlatformError(
          .invalidArgument, "there is no command '\(path) \(word)'",
          hint: close.map { "Did you mean '\(path) \($0)'?" } ?? "See '\(path) --help' for all commands.")
      }
      path += " " + word
      here = next.configuration.subcommands
    }
  }

  /// Errors of a command that was asked for JSON are JSON too, also when its options could not be read.
  private static func wantsJSON(_ arguments: [String]) -> Bool {
    zip(arguments, arguments.dropFirst()).contains { ["-o", "--output"].contains($0) && $1 == "json" } || arguments.contains("--output=json")
  }
}
