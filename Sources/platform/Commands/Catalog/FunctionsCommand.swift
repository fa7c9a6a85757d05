// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct FunctionsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "functions", abstract: "Functions of the catalog, written in SQL.",
    discussion: """
      EXAMPLES
        platform sql "create function main.demo.twice(n int) returns int return n * 2"
        platform functions list main.demo
        platform functions get main.demo.twice
        platform functions delete main.demo.twice --yes
      """, subcommands: [List.self, Get.self, Update.self, Delete.self])

  static func signature(_ one: FunctionInfo) -> String {
    let parameters = (one.inputParams.parameters ?? []).map { parameter in
      "\(parameter.name) \(parameter.typeText)" + (parameter.parameterDefault.map { " DEFAULT \($0)" } ?? "")
    }
    return "(\(parameters.joined(separator: ", "))) -> \(one.fullDataType)"
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The functions of a schema.")
    @Argument(help: "catalog.schema") var schema: String = "main.default"
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let list = try await CatalogCalls.all(options.client(), "functions", CatalogCalls.inSchema(schema), as: FunctionInfo.self)
      try CatalogCalls.show(list, options.output, ["FUNCTION", "SIGNATURE", "OWNER", "UPDATED", "COMMENT"], none: "No functions in \(schema).") {
        [
          $0.fullName, CatalogCalls.short(FunctionsCommand.signature($0), options.output), $0.owner, CatalogCalls.time($0.updatedAt),
          CatalogCalls.short($0.comment, options.output),
        ]
      }
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One function with its body.")
    @Argument(help: "catalog.schema.function") var name: String
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let one: FunctionInfo = try await CatalogCalls.get(options.client(), "functions", name)
      if options.output == .name { return Report.data(one.fullName) }
      if options.output.isStructured { return try Report.structured(one, options.output) }
      CatalogCalls.show([
        ("name", one.fullName), ("signature", FunctionsCommand.signature(one)), ("owner", one.owner), ("comment", one.comment ?? ""),
        ("access", one.sqlDataAccess), ("deterministic", one.isDeterministic.map { $0 ? "yes" : "no" } ?? ""),
        ("created", "\(CatalogCalls.time(one.createdAt)) by \(one.createdBy)"), ("updated", "\(CatalogCalls.time(one.updatedAt)) by \(one.updatedBy)"),
        ("body", one.routineDefinition),
      ])
    }
  }

  struct Update: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Change or rename it.")
    @Argument(help: "catalog.schema.function") var name: String
    @OptionGroup var change: ChangeOptions
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let one: FunctionInfo = try await options.client().patch("\(CatalogCalls.base)/functions/\(segment(name))", change.request())
      if options.output == .name { return Report.data(one.fullName) }
      if options.output.isStructured { return try Report.structured(one, options.output) }
      Report.note("\(Report.check) \(one.fullName) changed")
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Drop a function.")
    @Argument(help: "catalog.schema.function") var name: String
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      try Confirmation.require(name, toDelete: "the function \(name)", yes: yes)
      try await CatalogCalls.delete(options.client(), "functions", name)
    }
  }
}
