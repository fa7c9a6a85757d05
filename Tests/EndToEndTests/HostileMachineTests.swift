// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// What the machine does to us: no server program, a full disk, damaged files, a database of a later version.
  @Suite(.serialized) struct HostileMachineTests {
    /// Mounting needs root, and a machine that lets root mount.
    static let mayMount: Bool = {
      guard geteuid() == 0 else { return false }
      let answer = try? LocalCluster.run("/usr/bin/unshare", ["-m", "mount", "-t", "tmpfs", "none", "/mnt"], timeout: 20)
      return answer?.status == 0
    }()

    @Test(.enabled(if: mayMount, "mounting is not allowed here"))
    func missingPostgresIsNamedWithItsPackage() throws {
      let cluster = try LocalCluster("nopg")
      let up =
        "mount -t tmpfs none /usr/lib/postgresql && exec \(LocalCluster.binary) up --bind \(cluster.http) --node-bind \(cluster.nodes)"
      let answer = try LocalCluster.run(
        "/usr/bin/unshare", ["-m", "sh", "-c", up], timeout: 90, environment: ["PLATFORM_HOME": cluster.data])
      #expect(answer.status == 78 && answer.err.contains("PLT-1101"), "\(answer.all)")
      #expect(answer.err.contains("apt-get install postgresql"), "\(answer.all)")
      #expect(cluster.processes([]).isEmpty)
    }

    /// Root starts it in the other tests; here it is somebody without any right.
    @Test(
      .enabled(if: geteuid() == 0, "the other tests run as an ordinary user already"),
      .enabled(if: ordinaryUserMayRun, "an ordinary user cannot reach the program where it was built"))
    func anOrdinaryUserStartsAndStopsIt() throws {
      let cluster = try LocalCluster("ordinary")
      chown(cluster.folder.path, 65_534, 65_534)
      func platform(_ arguments: [String]) throws -> LocalCluster.Output {
        try LocalCluster.run(
          "/usr/bin/setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", LocalCluster.binary] + arguments, timeout: 120,
          environment: ["PLATFORM_HOME": cluster.data, "HOME": cluster.folder.path])
      }
      let up = try platform(["up", "--bind", cluster.http, "--node-bind", cluster.nodes])
      #expect(up.status == 0, "\(up.all)")
      #expect(try platform(["sql", "create table main.demo.t as select 42 as a"]).status == 0)
      #expect(try platform(["sql", "select a from main.demo.t", "-o", "csv"]).out == "a\r\n42\r\n")
      let owner = try FileManager.default.attributesOfItem(atPath: cluster.data + "/pg")[.ownerAccountID] as? Int
      #expect(owner == 65_534)
      #expect(try platform(["down", "--purge", "--yes"]).status == 0)
      #expect(!FileManager.default.fileExists(atPath: cluster.data))
    }

    static let ordinaryUserMayRun: Bool = {
      let answer = try? LocalCluster.run(
        "/usr/bin/setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", LocalCluster.binary, "--version"], timeout: 30)
      return answer?.status == 0
    }()

    @Test func aDatabaseOfALaterVersionIsRefused() throws {
      let cluster = try LocalCluster("newer")
      #expect(try cluster.start(workers: 0).status == 0)
      try cluster.psql("INSERT INTO platform.schema_migrations (component, number, name, checksum) VALUES ('catalog', 9999, 'from the future', 'x')")
      #expect(try cluster.cli(["down"]).status == 0)
      let answer = try cluster.start(workers: 0)
      #expect(answer.status == 78 && answer.err.contains("PLT-1102") && answer.err.contains("9999"), "\(answer.all)")
      #expect(cluster.processes([]).isEmpty)
    }

    @Test(.enabled(if: mayMount, "mounting is not allowed here"))
    func aFullDiskLosesNothing() throws {
      let cluster = try LocalCluster("full")
      #expect(try cluster.start(workers: 1).status == 0)
      let lake = cluster.data + "/lake"
      #expect(try LocalCluster.run("/usr/bin/mount", ["-t", "tmpfs", "-o", "size=3m", "none", lake], timeout: 20).status == 0)
      defer {
        _ = try? cluster.cli(["down"], timeout: 60)  // the next line reports what matters: a mount that stays
        #expect((try? LocalCluster.run("/usr/bin/umount", ["-l", lake], timeout: 20).status) == 0)
      }
      #expect(try cluster.cli(["sql", "create table main.demo.kept as select range as i from range(1000)"]).status == 0)
      let full = try cluster.cli(["sql", "create table main.demo.large as select range as i, md5(range::varchar) as t from range(400000)"])
      #expect(full.status == 75 && full.err.contains("space") && full.err.contains("PLT-3202"), "\(full.all)")
      // What was there is there, nothing half written is visible, and the next statement that fits succeeds.
      #expect(try cluster.scalar("select sum(i)::bigint from main.demo.kept") == 499_500)
      let again = try cluster.cli(["sql", "select * from main.demo.large"])
      #expect(again.status == 66, "\(again.all)")
      let left = try LocalCluster.run("/usr/bin/find", [lake, "-size", "+100k"], timeout: 20).out
      #expect(left.isEmpty, "left behind: \(left)")
      // A disk that fills exactly while the commit is written.
      let filler = try LocalCluster.run("/usr/bin/dd", ["if=/dev/zero", "of=\(lake)/filler", "bs=1k"], timeout: 20)
      #expect(filler.status != 0)
      let refused = try cluster.cli(["sql", "insert into main.demo.kept select 7"])
      #expect(refused.status == 75 && refused.err.contains("space"), "\(refused.all)")
      try FileManager.default.removeItem(atPath: lake + "/filler")
      #expect(try cluster.scalar("select count(*) from main.demo.kept") == 1000)
      #expect(try cluster.cli(["sql", "insert into main.demo.kept select 7"]).status == 0)
      #expect(try cluster.scalar("select count(*) from main.demo.kept") == 1001)
    }

    @Test func aTruncatedModelIsNamed() throws {
      let cluster = try LocalCluster("torn")
      #expect(try cluster.start(workers: 1).status == 0)
      let run = try cluster.finish(
        try cluster.submit(
          """
          resources:
            jobs:
              j:
                name: n
                tasks:
                  - task_key: ingest
                    ingest_task: { input: "\(try cluster.documents(20))", table: main.demo.documents }
                  - task_key: prepare
                    depends_on: [ { task_key: ingest } ]
                    prepare_task: { source: main.demo.documents, output: main.demo.chunks, chunk_tokens: 100, overlap: 16 }
                  - task_key: train
                    depends_on: [ { task_key: prepare } ]
                    train_task: { data: main.demo.chunks, register_as: main.demo.lm, vocabulary: 300, hidden: 16, layers: 1, heads: 2, kv_heads: 1, intermediate: 32, sequence_length: 32, batch_tokens: 64, steps: 2 }
          """))
      #expect(run["state"] == "SUCCEEDED", "\(run.sortedText)")
      let files = try LocalCluster.run("/usr/bin/find", [cluster.data + "/models", "-name", "*.safetensors"], timeout: 20).out
      let weights = try #require(files.split(separator: "\n").first.map(String.init))
      let size = try #require(try FileManager.default.attributesOfItem(atPath: weights)[.size] as? Int)
      truncate(weights, size - 100)
      let failed = try cluster.finish(
        try cluster.submit(
          "resources:\n  jobs:\n    j:\n      name: n\n      tasks:\n        - task_key: d\n          deploy_task: { endpoint: torn, model: main.demo.lm }\n"
        ))
      #expect(failed["state"] == "FAILED", "\(failed.sortedText)")
      let text = failed.task("d").sortedText
      #expect(text.contains("PLT-4101") && text.contains("safetensors"), "\(text)")
    }
  }
}

extension LocalCluster {
  /// Runs a statement in the private Postgres.
  func psql(_ statement: String) throws {
    let answer = try Self.run(
      "/usr/bin/psql", ["-h", data + "/pg", "-U", "platform", "-d", "platform", "-v", "ON_ERROR_STOP=1", "-c", statement], timeout: 30)
    guard answer.status == 0 else { throw PlatformError(.internalError, "psql: \(answer.all)") }
  }
}
