// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

/// `platform fs`: files of volumes from the command line.
struct FilesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fs", abstract: "Files of volumes: list, show, copy both ways, remove.",
    discussion: """
      EXAMPLES
        platform fs ls /Volumes/main/demo/raw
        platform fs cp -r ./documents /Volumes/main/demo/raw/documents
        platform fs cp /Volumes/main/demo/raw/big.bin .
        platform fs cat /Volumes/main/demo/raw/notes.txt | head
      """, subcommands: [List.self, Show.self, Copy.self, Remove.self, MakeFolder.self, Stat.self])

  /// - Throws: `invalidArgument` for what is not a path of a volume.
  static func volume(_ path: String) throws -> String {
    let plain = path.hasPrefix("dbfs:/Volumes/") ? String(path.dropFirst(5)) : path
    guard isVolume(plain) else {
      throw PlatformError(.invalidArgument, "'\(path)' is not a path of a volume", hint: "Write /Volumes/catalog/schema/volume/...", number: "PLT-3001")
    }
    return plain.count > 1 && plain.hasSuffix("/") ? String(plain.dropLast()) : plain
  }

  static func isVolume(_ path: String) -> Bool { path.hasPrefix("/Volumes/") || path.hasPrefix("dbfs:/Volumes/") }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "ls", abstract: "The entries of a folder.")
    @Argument(help: "/Volumes/catalog/schema/volume/...") var path: String
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let entries = try await options.client().files(in: FilesCommand.volume(path))
      if options.output == .name { return entries.forEach { Report.data($0.path) } }
      if options.output.isStructured { return try Report.structured(entries, options.output) }
      guard !entries.isEmpty else { return Report.note("The folder is empty.") }
      Report.table(
        ["NAME", "SIZE", "MODIFIED"],
        entries.map {
          [
            $0.name + ($0.isDirectory ? "/" : ""), $0.fileSize.map { ByteText.of($0) } ?? "",
            Date(timeIntervalSince1970: Double($0.lastModified) / 1000).formatted(.iso8601),
          ]
        })
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "cat", abstract: "Write a file to the standard output.")
    @Argument(help: "/Volumes/catalog/schema/volume/...") var path: String
    @OptionGroup var options: ClientOptions
    func run() async throws {
      try await options.client().download(FilesCommand.volume(path)) { StandardStreams.out($0) }
    }
  }

  struct Stat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "stat", abstract: "What is at a path.")
    @Argument(help: "/Volumes/catalog/schema/volume/...") var path: String
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let path = try FilesCommand.volume(path)
      guard let found = try await options.client().look(atFile: path) else {
        throw PlatformError(.notFound, "there is no such file or folder", number: "PLT-1703", path: path)
      }
      var facts: [String: JSONValue] = ["path": .string(path), "is_directory": .bool(found.isDirectory)]
      if !found.isDirectory {
        facts["file_size"] = .integer(found.size)
        facts["etag"] = .string(found.tag)
        facts["last_modified"] = .string(found.modified)
      }
      if options.output.isStructured { return try Report.structured(JSONValue.object(facts), options.output) }
      CatalogCalls.show([
        ("path", path), ("kind", found.isDirectory ? "folder" : "file"), ("size", found.isDirectory ? "" : ByteText.of(found.size)),
        ("modified", found.modified), ("tag", found.tag),
      ])
    }
  }

  struct MakeFolder: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "mkdir", abstract: "Make a folder, and those above it.")
    @Argument(help: "/Volumes/catalog/schema/volume/...") var path: String
    @OptionGroup var options: ClientOptions
    func run() async throws { try await options.client().makeFolder(FilesCommand.volume(path)) }
  }

  struct Remove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "rm", abstract: "Remove a file, an empty folder, or with -r a folder with all that is in it.")
    @Argument(help: "/Volumes/catalog/schema/volume/...") var path: String
    @Flag(name: [.short, .long], help: "Also what is in the folder.") var recursive = false
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let client = try options.client()
      let path = try FilesCommand.volume(path)
      guard let found = try await client.look(atFile: path) else {
        throw PlatformError(.notFound, "there is no such file or folder", number: "PLT-1703", path: path)
      }
      guard found.isDirectory && recursive else { return try await client.remove(path, isDirectory: found.isDirectory) }
      try Confirmation.require(path, toDelete: "the folder \(path) with everything in it", yes: yes)
      // Deepest first; a stack of its own, for folders of any depth.
      var waiting = [path]
      var folders: [String] = []
      while let folder = waiting.popLast() {
        folders.append(folder)
        for entry in try await client.files(in: folder) {
          if entry.isDirectory { waiting.append(entry.path) } else { try await client.remove(entry.path, isDirectory: false) }
        }
      }
      // The volume itself stays.
      for folder in folders.reversed() where folder.utf8.split(separator: UInt8(ascii: "/")).count > 4 {
        try await client.remove(folder, isDirectory: true)
      }
    }
  }

  struct Copy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "cp", abstract: "Copy files into a volume, out of one, or between two.",
      discussion: "A download that broke off goes on where it stopped when the command is repeated; an upload begins again.")
    @Argument(help: "A path of this machine or of a volume.") var source: String
    @Argument(help: "A path of this machine or of a volume.") var target: String
    @Flag(name: [.short, .long], help: "Folders with all that is in them.") var recursive = false
    @Flag(help: "Replace files that are there.") var overwrite = false
    @OptionGroup var options: ClientOptions

    func run() async throws {
      let copier = FileCopier(client: try options.client(), overwrite: overwrite, recursive: recursive)
      switch (FilesCommand.isVolume(source), FilesCommand.isVolume(target)) {
      case (false, true): try await copier.upload(source, to: FilesCommand.volume(target), intoFolder: target.hasSuffix("/"))
      case (true, false): try await copier.download(FilesCommand.volume(source), to: target)
      case (true, true): try await copier.copy(FilesCommand.volume(source), to: FilesCommand.volume(target))
      case (false, false):
        throw PlatformError(.invalidArgument, "neither path is of a volume", hint: "Write one as /Volumes/catalog/schema/volume/...")
      }
      copier.progress.finish()
      if !options.output.isStructured { Report.note("\(Report.check) \(copier.progress.summary)") }
    }
  }
}

enum ByteText {
  /// `1.5 MB`
  static func of(_ bytes: Int64) -> String {
    var value = Double(bytes)
    for unit in ["B", "KB", "MB", "GB"] {
      if value < 1000 { return unit == "B" ? "\(bytes) B" : String(format: "%.1f %@", value, unit) }
      value /= 1000
    }
    return String(format: "%.1f TB", value)
  }
}
