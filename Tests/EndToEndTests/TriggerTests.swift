// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Jobs that start when something has changed, also while no coordinator ran.
  @Suite(.serialized) struct TriggerTests {
    private static let client = #"""
      import io, os, signal, sys, time
      from databricks.sdk import WorkspaceClient
      from databricks.sdk.errors import DatabricksError, NotFound
      from databricks.sdk.service import jobs as j
      w = WorkspaceClient(host=sys.argv[1], token=sys.argv[2])
      data = sys.argv[3]
      V = "/Volumes/main/default/incoming"
      def wait(what, condition):
          deadline = time.time() + 90
          while time.time() < deadline:
              try: found = condition()
              except (DatabricksError, OSError): found = None  # the coordinator starts again
              if found: return found
              time.sleep(0.1)
          raise TimeoutError(what)
      def put(name): w.files.upload(f"{V}/{name}", io.BytesIO(b"x"), overwrite=True)
      def sql(text): w.api_client.do("POST", "/api/2.0/sql/statements", body={"statement": text, "warehouse_id": "x", "wait_timeout": "50s"})
      def job(name, left="{{job.trigger.type}}", **more):
          return w.jobs.create(name=name, tasks=[j.Task(task_key="t", condition_task=j.ConditionTask(
              op=j.ConditionTaskOp.EQUAL_TO, left=left, right="file_arrival"))], **more).job_id
      def ended(job_id): return [r for r in w.jobs.list_runs(job_id=job_id, expand_tasks=True) if r.state.life_cycle_state.value == "TERMINATED"]

      put("old.txt")
      sql("create table main.default.a (x int)")
      sql("create table main.default.b (x int)")
      for url in ["/etc", "/Volumes/main/default/nowhere", "s3://nobody/x"]:
          try: job("bad", trigger=j.TriggerSettings(file_arrival=j.FileArrivalTriggerConfiguration(url=url)))
          except DatabricksError: continue
          raise AssertionError(url)
      files = job("files", trigger=j.TriggerSettings(file_arrival=j.FileArrivalTriggerConfiguration(url=V + "/")))
      both = job("tables", trigger=j.TriggerSettings(table_update=j.TableUpdateTriggerConfiguration(
          table_names=["main.default.a", "main.default.b"], condition=j.Condition.ALL_UPDATED)))
      put("sub/new.txt")
      sql("insert into main.default.a values (1)")
      run = wait("the run for the file", lambda: ended(files))[0]
      assert run.trigger == j.TriggerType.FILE_ARRIVAL and run.tasks[0].condition_task.outcome == "true", run
      # Stopped, so that nothing else is looked at, and killed: what changed meanwhile is seen by the next.
      def coordinators():
          for entry in filter(str.isdigit, os.listdir("/proc")):
              try: words = open(f"/proc/{entry}/cmdline").read().split("\0")
              except OSError: continue
              if "coordinator" in words and any(x.startswith(data) for x in words): yield int(entry)
      sql("insert into main.default.b values (1)")
      run = wait("the run for the tables", lambda: ended(both))[0]
      assert run.trigger == j.TriggerType.TABLE, run
      pids = list(coordinators())
      for pid in pids: os.kill(pid, signal.SIGSTOP)
      folder = [os.path.join(at, "old.txt") for at, _, names in os.walk(data) if "old.txt" in names][0]
      open(os.path.join(os.path.dirname(folder), "while-away.txt"), "w").close()
      for pid in pids: os.kill(pid, signal.SIGKILL)
      wait("the second run for a file", lambda: len(ended(files)) == 2)
      assert len(list(w.jobs.list_runs(job_id=files))) == 2 and len(list(w.jobs.list_runs(job_id=both))) == 1

      # One after the other, until it is paused.
      always = job("always", continuous=j.Continuous())
      runs = wait("runs of a continuous job", lambda: len(r := ended(always)) >= 2 and r)
      assert all(r.trigger == j.TriggerType.CONTINUOUS for r in runs), runs
      w.jobs.update(always, new_settings=j.JobSettings(continuous=j.Continuous(pause_status=j.PauseStatus.PAUSED)))
      """#

    @Test(.enabled(if: Peers.python != nil, "no peer environment"))
    func changesStartRunsAlsoWhenNobodyLooked() throws {
      let cluster = try LocalCluster("triggers")
      #expect(try cluster.start(workers: 1).status == 0)
      #expect(try cluster.cli(["sql", "create volume main.default.incoming"]).status == 0)
      _ = try Peers.run(Self.client, ["http://\(cluster.http)", cluster.token, cluster.data])
    }
  }
}
