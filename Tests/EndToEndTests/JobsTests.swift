// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Stored jobs on real processes: by Databricks' own client, by the command line, through kills.
  @Suite(.serialized) struct JobsTests {
    private static let client = #"""
      import io, json, os, sys, time
      from databricks.sdk import WorkspaceClient
      from databricks.sdk.errors import NotFound, InvalidParameterValue
      from databricks.sdk.service import jobs as j
      w = WorkspaceClient(host=sys.argv[1], token=sys.argv[2])
      V = "/Volumes/main/default/code"
      def put(name, text): w.files.upload(f"{V}/{name}", io.BytesIO(text.encode()), overwrite=True)
      def ended(run_id):
          deadline = time.time() + 60
          while time.time() < deadline:
              run = w.jobs.get_run(run_id)
              if run.state.life_cycle_state.value in ("TERMINATED", "SKIPPED", "INTERNAL_ERROR"): return run
              time.sleep(0.1)
          raise TimeoutError(str(run.state))
      def py(name, *parameters): return j.SparkPythonTask(python_file=f"{V}/{name}", parameters=list(parameters))
      def after(*keys): return [j.TaskDependency(task_key=k) for k in keys]
      def states(run): return {t.task_key: t.state.result_state.value for t in run.tasks}
      def task(run, key): return [t for t in run.tasks if t.task_key == key][0]
      def refused(error, call, *words):
          try: call()
          except error as e:
              for word in words: assert word in str(e), (word, str(e))
              return
          raise AssertionError("not refused")

      put("count.py", """
      import os, sys, taskvalues
      n = int(sys.argv[1])
      print("rows", n, flush=True)
      taskvalues.set("rows", n)
      taskvalues.set("items", list(range(n)))
      assert "PLATFORM_TOKEN" not in os.environ and os.getcwd() == os.environ["HOME"]
      """)
      put("one.py", "import sys, taskvalues\nprint('item', sys.argv[1], 'of', taskvalues.get('count', 'rows'))\ntaskvalues.set('square', int(sys.argv[1]) ** 2)\n")
      put("flaky.py", "import os, sys\nprint('attempt', os.environ['PLATFORM_TASK_ATTEMPT'])\nif os.environ['PLATFORM_TASK_ATTEMPT'] == '1': sys.exit('it broke')\n")
      NAP = str(10_000_000 + os.getpid())  # of this test, whatever else runs on the machine
      put("slow.py", f"import subprocess, time\nsubprocess.Popen(['sleep', '{NAP}'], start_new_session=True)\nprint('started', flush=True)\ntime.sleep(600)\n")
      put("quick.py", "print('quick')\n")

      # A job with parameters, values, a condition and a loop.
      created = w.jobs.create(
          name="nightly", parameters=[j.JobParameterDefinition(name="n", default="1")], tags={"team": "a"},
          tasks=[
              j.Task(task_key="count", spark_python_task=py("count.py", "{{job.parameters.n}}"), timeout_seconds=60, max_retries=1),
              j.Task(task_key="big", depends_on=after("count"), condition_task=j.ConditionTask(
                  op=j.ConditionTaskOp.GREATER_THAN, left="{{tasks.count.values.rows}}", right="2")),
              j.Task(task_key="each", depends_on=[j.TaskDependency(task_key="big", outcome="true")], for_each_task=j.ForEachTask(
                  inputs="{{tasks.count.values.items}}", concurrency=2, task=j.Task(task_key="one", spark_python_task=py("one.py", "{{input}}")))),
              j.Task(task_key="never", depends_on=[j.TaskDependency(task_key="big", outcome="false")], spark_python_task=py("quick.py")),
              j.Task(task_key="always", depends_on=after("each", "never"), run_if=j.RunIf.ALL_DONE, spark_python_task=py("quick.py")),
          ])
      run = w.jobs.run_now(created.job_id, job_parameters={"n": "3"}, idempotency_token="monday").result()
      assert run.state.result_state == j.RunResultState.SUCCESS, run.state
      assert states(run) == {"count": "SUCCESS", "big": "SUCCESS", "each": "SUCCESS", "never": "EXCLUDED", "always": "SUCCESS"}, states(run)
      assert run.job_id == created.job_id and run.run_type == j.RunType.JOB_RUN and run.job_parameters[0].value == "3"
      assert task(run, "big").condition_task.outcome == "true" and task(run, "each").for_each_task.stats.task_run_stats.succeeded_iterations == 3
      # The same token is the same run.
      assert w.jobs.run_now(created.job_id, idempotency_token="monday").run_id == run.run_id
      output = w.jobs.get_run_output(task(run, "count").run_id)
      assert output.logs == "rows 3\n" and not output.error, output
      loop = w.jobs.get_run(task(run, "each").run_id)
      assert [i.state.result_state.value for i in loop.iterations] == ["SUCCESS"] * 3
      assert w.jobs.get_run_output(loop.iterations[2].run_id).logs == "item 2 of 3\n"
      refused(InvalidParameterValue, lambda: w.jobs.get_run_output(run.run_id), "multiple tasks")
      assert "rows 3" in [v for v in w.jobs.export_run(run.run_id).views if v.name == "count"][0].content
      part = ended(w.jobs.run_now(created.job_id, only=["+big"]).run_id)
      assert set(states(part)) == {"count", "big"}, states(part)

      # A run of its own that fails, and its repair.
      failed = ended(w.jobs.submit(run_name="flaky", tasks=[
          j.SubmitTask(task_key="ok", spark_python_task=py("quick.py")),
          j.SubmitTask(task_key="flaky", depends_on=after("ok"), spark_python_task=py("flaky.py")),
          j.SubmitTask(task_key="last", depends_on=after("flaky"), spark_python_task=py("quick.py"))]).run_id)
      assert failed.state.result_state == j.RunResultState.FAILED and failed.run_type == j.RunType.SUBMIT_RUN
      assert states(failed) == {"ok": "SUCCESS", "flaky": "FAILED", "last": "UPSTREAM_FAILED"}, states(failed)
      output = w.jobs.get_run_output(task(failed, "flaky").run_id)
      assert output.error == "the program ended with exit code 1: it broke" and output.logs == "attempt 1\nit broke\n", output
      first = task(failed, "ok").end_time
      repair = w.jobs.repair_run(failed.run_id, rerun_all_failed_tasks=True)
      mended = ended(failed.run_id)
      assert mended.state.result_state == j.RunResultState.SUCCESS, mended.state
      assert task(mended, "ok").end_time == first
      assert w.jobs.get_run_output(task(mended, "flaky").run_id).logs == "attempt 2\n"
      refused(InvalidParameterValue, lambda: w.jobs.repair_run(failed.run_id, rerun_tasks=["flaky"]), "latest_repair_id")
      w.jobs.repair_run(failed.run_id, rerun_tasks=["flaky"], latest_repair_id=repair.response.repair_id)
      ended(failed.run_id)
      history = w.jobs.get_run(failed.run_id, include_history=True).repair_history
      assert [h.type.value for h in history] == ["ORIGINAL", "REPAIR", "REPAIR"] and history[0].state.result_state.value == "FAILED"

      # A program is ended with all that it has started.
      def sleepers():
          found = 0
          for pid in filter(str.isdigit, os.listdir("/proc")):
              try: found += open(f"/proc/{pid}/cmdline").read() == f"sleep\000{NAP}\0"
              except OSError: pass
          return found
      slow = w.jobs.submit(run_name="slow", tasks=[j.SubmitTask(task_key="slow", spark_python_task=py("slow.py"))]).run_id
      while not sleepers(): time.sleep(0.05)
      assert slow in [r.run_id for r in w.jobs.list_runs(active_only=True)]
      w.jobs.cancel_run(slow)
      assert ended(slow).state.result_state == j.RunResultState.CANCELED
      deadline = time.time() + 20
      while sleepers() and time.time() < deadline: time.sleep(0.05)
      assert not sleepers()

      # A program that uses too much is ended with all that it has started, and its owner is told of how much it was.
      put("memory.py", "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', 'x = bytearray(1 << 28); import time; time.sleep(600)'])\ntime.sleep(600)\n")
      put("processes.py", "import os, time\nfor _ in range(20):\n  if os.fork() == 0: os.setsid(); break\ntime.sleep(600)\n")
      put("disk.py", "import time\nopen('big', 'wb').write(bytes(9_000_000))\ntime.sleep(600)\n")
      def greedy(name, **limits): return {"task_key": name, "spark_python_task": {"python_file": f"{V}/{name}.py", **limits}}
      many = ended(w.api_client.do("POST", "/api/2.2/jobs/runs/submit", body={"run_name": "greedy", "tasks": [
          greedy("memory", memory="200MB"), greedy("processes", processes=10), greedy("disk", disk="5MB"), greedy("quick", memory="1GB", processes=5)]})["run_id"])
      assert states(many) == {"memory": "FAILED", "processes": "FAILED", "disk": "FAILED", "quick": "SUCCESS"}, states(many)
      for key, words in [("memory", "of memory in 2 processes; it may use 200.0 MB"), ("processes", "it may have 10"), ("disk", "its folder took 9")]:
          error = w.jobs.get_run_output(task(many, key).run_id).error
          assert words in error, error

      # Every state and result that there is: the rest of them.
      put("fail.py", "raise SystemExit('it fails')\n")
      def bare(name, file="quick.py", *before, **more): return j.SubmitTask(task_key=name, depends_on=after(*before), spark_python_task=py(file), **more)
      seen = ended(w.jobs.submit(run_name="states", tasks=[
          bare("late", "slow.py", timeout_seconds=1), bare("off", disabled=True), bare("behind", "quick.py", "off"), bare("bad", "fail.py"),
          bare("mend", "quick.py", "bad", "late", run_if=j.RunIf.ALL_DONE)]).run_id)
      assert states(seen) == {"late": "TIMEDOUT", "off": "DISABLED", "behind": "EXCLUDED", "bad": "FAILED", "mend": "SUCCESS"}, states(seen)
      assert seen.state.result_state.value == "SUCCESS_WITH_FAILURES", seen.state
      late = ended(w.jobs.submit(run_name="late", timeout_seconds=1, tasks=[bare("slow", "slow.py")]).run_id)
      assert late.state.result_state.value == "TIMEDOUT" and late.state.user_cancelled_or_timedout, late.state
      waiting_job = w.jobs.create(name="waiting", tasks=[
          j.Task(task_key="bad", max_retries=1, min_retry_interval_millis=600_000, spark_python_task=py("fail.py")),
          j.Task(task_key="next", depends_on=after("bad"), spark_python_task=py("quick.py")),
          j.Task(task_key="last", depends_on=after("next"), spark_python_task=py("quick.py"))]).job_id
      waiting = w.jobs.run_now(waiting_job).run_id
      deadline = time.time() + 60
      def lives(): return {t.task_key: t.state.life_cycle_state.value for t in w.jobs.get_run(waiting).tasks}
      while lives()["bad"] != "WAITING_FOR_RETRY" and time.time() < deadline: time.sleep(0.05)
      assert lives() == {"bad": "WAITING_FOR_RETRY", "next": "BLOCKED", "last": "BLOCKED"}, lives()
      assert w.jobs.get_run(waiting).state.life_cycle_state.value == "RUNNING"
      w.jobs.cancel_run(waiting)
      assert states(ended(waiting)) == {"bad": "CANCELED", "next": "UPSTREAM_CANCELED", "last": "UPSTREAM_CANCELED"}, states(ended(waiting))
      w.jobs.delete(waiting_job)

      # Files that programs leave are kept for every attempt, without links; dbt says what it needs.
      put("leave.py", """
      import os
      folder = os.environ["PLATFORM_TASK_ARTIFACTS"]
      os.makedirs(folder + "/a/b")
      with open(folder + "/a/b/one.txt", "w") as file: file.write("attempt " + os.environ["PLATFORM_TASK_ATTEMPT"])
      os.symlink("/etc/passwd", folder + "/link")
      os.symlink("/etc", folder + "/etc")
      assert os.environ["PLATFORM_TASK_ATTEMPT"] == "2"
      """)
      put("shop/dbt_project.yml", "name: shop\nprofile: shop\n")
      put("shop/models/orders.sql", "select {{ var('n') }}\n")
      dbt = j.DbtTask(commands=["dbt build --vars '{\"n\": 1}'"], project_directory=f"{V}/shop", warehouse_id="x")
      left = ended(w.jobs.submit(run_name="left", tasks=[
          bare("leave", "leave.py", max_retries=1, min_retry_interval_millis=1), j.SubmitTask(task_key="dbt", dbt_task=dbt)]).run_id)
      assert states(left) == {"leave": "SUCCESS", "dbt": "FAILED"}, states(left)
      assert "there is no dbt in the task's environment" in w.jobs.get_run_output(task(left, "dbt").run_id).error
      A = "/api/2.2/jobs/runs/artifacts"
      kept = w.api_client.do("GET", A, query={"run_id": left.run_id})["artifacts"]
      assert [(a["task_key"], a["attempt"], a["path"], a["file_size"]) for a in kept] == [("leave", n, "a/b/one.txt", 9) for n in (1, 2)], kept
      def content(**query): return w.api_client.do("GET", A + "/content", query={"run_id": left.run_id, "task_key": "leave", **query}, raw=True)["contents"].read()
      assert content(attempt=1, path="a/b/one.txt") == b"attempt 1" and content(attempt=2, path="a/b/one.txt") == b"attempt 2"
      for query in ({"attempt": 3, "path": "a/b/one.txt"}, {"attempt": 1, "path": "../../../keys/catalog.key"}, {"attempt": 1, "path": "a"}, {"attempt": 1, "path": "link"}):
          refused(NotFound, lambda: content(**query), "has left no")

      # One run at once, and no queue.
      single = w.jobs.create(name="single", tasks=[j.Task(task_key="slow", spark_python_task=py("slow.py"))]).job_id
      one = w.jobs.run_now(single).run_id
      two = ended(w.jobs.run_now(single).run_id)
      assert two.state.life_cycle_state.value == "SKIPPED" and two.state.result_state.value == "MAXIMUM_CONCURRENT_RUNS_REACHED", two.state
      three = w.jobs.run_now(single, queue=j.QueueSettings(enabled=True)).run_id
      assert w.jobs.get_run(three).state.life_cycle_state.value == "QUEUED"
      w.jobs.cancel_all_runs(job_id=single)
      assert ended(one).state.result_state.value == "CANCELED" and ended(three).state.result_state.value == "CANCELED"

      # A job of jobs; changes while it runs change nothing.
      child = w.jobs.create(name="child", tasks=[j.Task(task_key="q", spark_python_task=py("quick.py"))]).job_id
      parent = w.jobs.create(name="parent", tasks=[j.Task(task_key="c", run_job_task=j.RunJobTask(job_id=child))]).job_id
      above = ended(w.jobs.run_now(parent).run_id)
      below = w.jobs.get_run_output(task(above, "c").run_id).run_job_output.run_id
      assert above.state.result_state.value == "SUCCESS" and w.jobs.get_run(below).trigger == j.TriggerType.RUN_JOB_TASK

      # Lists, changes, deletion.
      assert [x.settings.name for x in w.jobs.list(limit=1)] == ["parent", "child", "single", "nightly"]
      assert [x.job_id for x in w.jobs.list(name="NIGHTLY", expand_tasks=True)] == [created.job_id]
      assert [r.run_id for r in w.jobs.list_runs(job_id=created.job_id, limit=1)] == [part.run_id, run.run_id]
      assert len([r for r in w.jobs.list_runs(job_id=single, completed_only=True)]) == 3
      w.jobs.update(created.job_id, new_settings=j.JobSettings(name="renamed", max_concurrent_runs=2), fields_to_remove=["tags"])
      changed = w.jobs.get(created.job_id).settings
      assert changed.name == "renamed" and len(changed.tasks) == 5 and not changed.tags and changed.max_concurrent_runs == 2
      w.jobs.reset(created.job_id, new_settings=j.JobSettings(name="small", tasks=[j.Task(task_key="q", spark_python_task=py("quick.py"))]))
      assert len(w.jobs.get(created.job_id).settings.tasks) == 1 and len(w.jobs.get_run(run.run_id).tasks) == 5
      w.jobs.delete_run(two.run_id)
      refused(NotFound, lambda: w.jobs.get_run(two.run_id), str(two.run_id))
      w.jobs.delete(parent)
      refused(NotFound, lambda: w.jobs.get(parent), "does not exist")
      refused(NotFound, lambda: w.jobs.run_now(999999), "999999")
      refused(InvalidParameterValue, lambda: w.jobs.create(name="bad", tasks=[
          j.Task(task_key="a b", spark_python_task=py("quick.py")), j.Task(task_key="c", depends_on=after("nobody"), notebook_task=j.NotebookTask("/x"))]),
          "a b", "nobody", "notebook_task")
      refused(InvalidParameterValue, lambda: w.jobs.run_now(created.job_id, job_parameters={"m": "1"}), "'--param m'" if False else "m")
      refused(InvalidParameterValue, lambda: w.jobs.create(name="x", schedule=j.CronSchedule("0 0 3 * *", "Europe/Belin"), tasks=[
          j.Task(task_key="q", spark_python_task=py("quick.py"))]), "Europe/Berlin")
      refused(InvalidParameterValue, lambda: w.jobs.create(name="x", continuous=j.Continuous(task_retry_mode=j.TaskRetryMode.ON_FAILURE), tasks=[
          j.Task(task_key="q", spark_python_task=py("quick.py"))]), "continuous")
      # Every second, until it is paused.
      ticking = w.jobs.create(name="tick", schedule=j.CronSchedule("* * * * * ?", "Europe/Berlin"), tasks=[
          j.Task(task_key="q", condition_task=j.ConditionTask(op=j.ConditionTaskOp.EQUAL_TO, left="{{job.trigger.type}}", right="periodic"))]).job_id
      deadline = time.time() + 30
      while len(list(w.jobs.list_runs(job_id=ticking))) < 2 and time.time() < deadline: time.sleep(0.1)
      w.jobs.update(ticking, new_settings=j.JobSettings(
          schedule=j.CronSchedule("* * * * * ?", "Europe/Berlin", pause_status=j.PauseStatus.PAUSED)))
      ticks = list(w.jobs.list_runs(job_id=ticking, expand_tasks=True))
      assert len(ticks) >= 2 and all(t.trigger == j.TriggerType.PERIODIC for t in ticks), ticks
      assert ended(ticks[-1].run_id).tasks[0].condition_task.outcome == "true"
      print(json.dumps({"kept": created.job_id}))
      """#

    @Test(.enabled(if: Peers.python != nil, "no peer environment"))
    func theDatabricksClientDrivesJobsAndTheySurviveAKill() throws {
      let cluster = try LocalCluster("jobs")
      #expect(try cluster.start(workers: 1).status == 0)
      #expect(try cluster.cli(["sql", "create volume main.default.code"]).status == 0)
      let answer = try JSONValue(parsing: Peers.run(Self.client, ["http://\(cluster.http)", cluster.token]))
      let kept = try #require(answer["kept"]?.intValue)

      // Stored jobs and accepted runs outlive the coordinator.
      let run = try cluster.cli(["jobs", "run", String(kept)])
      #expect(run.status == 0, "\(run.all)")
      for pid in cluster.processes(["coordinator"]) { kill(pid, SIGKILL) }
      let id = run.out.trimmingCharacters(in: .whitespacesAndNewlines)
      #expect(try cluster.finish(id)["state"] == "SUCCEEDED")
      #expect(try cluster.cli(["jobs", "list"]).out.contains("small"))
    }

    /// Where this user may make control groups, as a service with `Delegate=yes` may.
    private static let groups: String? = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].first {
      geteuid() == 0 && access($0 + "/cgroup.kill", F_OK) != 0 && access($0 + "/cgroup.procs", W_OK) == 0 && access($0 + "/cgroup.subtree_control", W_OK) == 0
    }

    @Test(.enabled(if: groups != nil, "no cgroup v2 in which this user may make groups"))
    func programsHaveControlGroupsWhereTheWorkerMayMakeSome() throws {
      let cluster = try LocalCluster("groups")
      let folder = try #require(Self.groups) + "/platform-test-\(UUID().uuidString.prefix(8))"
      #expect(mkdir(folder, 0o755) == 0)
      defer { for path in [folder + "/platform", folder] { rmdir(path) } }
      let up = try cluster.cli(
        ["up", "--workers", "1", "--bind", cluster.http, "--node-bind", cluster.nodes], environment: ["PLATFORM_CGROUP": folder])
      #expect(up.status == 0, "\(up.all)")
      let file = try cluster.write(
        "groups.yml",
        """
        resources:
          jobs:
            groups:
              tasks:
                - { task_key: a, command_task: { command: "grep ^0: /proc/self/cgroup; env -i setsid sleep 1000 & true", memory: 100MB, processes: 20 } }
        """)
      let watched = try cluster.cli(["submit", file, "--watch"])
      #expect(watched.status == 0, "\(watched.all)")
      let logs = try cluster.cli(["runs", "logs", "1"]).out
      #expect(logs.contains("/\(folder.split(separator: "/").last ?? "")/program-") && !logs.contains("control group"), "\(logs)")
      // What the program left behind, in a process group of its own and without its variables, ended with it.
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasPrefix("program-") } == [])
      #expect(try cluster.cli(["down"]).status == 0)
      try cluster.wait("the end of the worker's processes") { rmdir(folder + "/platform") == 0 || errno == ENOENT }
    }

    @Test func programsAndNodesByTheCommandLine() throws {
      let cluster = try LocalCluster("programs")
      #expect(try cluster.start(workers: 1).status == 0)
      _ = try cluster.write("hello.py", "import sys, taskvalues\ntaskvalues.set('name', sys.argv[1])\nprint('hello', sys.argv[1], '{{not a reference}}')\n")
      let file = try cluster.write(
        "hello.yml",
        """
        resources:
          jobs:
            hello:
              parameters: [ { name: who, default: world } ]
              tasks:
                - { task_key: python, spark_python_task: { python_file: hello.py, parameters: [ "{{job.parameters.who}}" ] } }
                - { task_key: shell, depends_on: [ { task_key: python } ], max_retries: 1, min_retry_interval_millis: 1,
                    command_task: { command: 'echo "$WHO $PLATFORM_TASK_ATTEMPT" | tee "$PLATFORM_TASK_ARTIFACTS/said"; test "$PLATFORM_TASK_ATTEMPT" = 2',
                                    env: { WHO: "{{tasks.python.values.name}}" } } }
                - { task_key: sql, depends_on: [ { task_key: shell } ], sql_task: { statement: "select :n as n", parameters: { n: "{{job.run_id}}" } } }
        """)
      let created = try cluster.cli(["jobs", "create", file])
      #expect(created.status == 0, "\(created.all)")
      let evil = "$(touch /tmp/never) '\"{{job.name}}"
      let watched = try cluster.cli(["jobs", "run", "hello", "--param", "who=\(evil)", "--watch"])
      #expect(watched.status == 0, "\(watched.all)")
      let run = "1"
      let logs = try cluster.cli(["runs", "logs", run]).out
      #expect(try cluster.cli(["runs", "logs", run, "--grep", "^hello .*world"]).out.isEmpty)
      #expect(try cluster.cli(["runs", "logs", run, "--grep", "^hello"]).out.split(separator: "\n").count == 1)
      let artifacts = try cluster.cli(["runs", "artifacts", run, "--task", "shell", "--to", cluster.folder.file("copied")])
      #expect(artifacts.status == 0 && artifacts.out.split(separator: "\n").count == 3, "\(artifacts.all)")
      let copied = FileManager.default.contents(atPath: cluster.folder.file("copied") + "/shell/2/said")
      #expect(copied.map { String(decoding: $0, as: UTF8.self) } == "\(evil) 2\n")
      #expect(try cluster.cli(["runs", "artifacts", run, "--task", "python"]).err.contains("left no files"))
      #expect(logs.contains("hello \(evil) {{not a reference}}") && logs.contains("\(evil) 1") && logs.contains("\(evil) 2"), "\(logs)")
      #expect(try cluster.run(run).task("sql")["values"]?["n"] == "1")
      let bad = try cluster.cli([
        "jobs", "create", try cluster.write("bad.yml", "resources:\n  jobs:\n    j:\n      tasks:\n        - { task_key: a, comand_task: {} }\n"),
      ])
      #expect(bad.status == 65 && bad.err.contains("Did you mean 'command_task'?") && bad.err.contains("bad.yml:5"), "\(bad.all)")
      let unknown = try cluster.cli(["jobs", "run", "helo"])
      #expect(unknown.status == 66, "\(unknown.all)")
      let parameter = try cluster.cli(["jobs", "run", "hello", "--param", "wo=1"])
      #expect(parameter.status == 64 && parameter.err.contains("who"), "\(parameter.all)")

      #expect(try cluster.cli(["nodes", "cordon", "w9"]).status == 66)
      #expect(try cluster.cli(["nodes", "drain", "w0"]).err.contains("drained"))
      let waiting = try cluster.cli(["jobs", "run", "hello"]).out.trimmingCharacters(in: .whitespacesAndNewlines)
      for pid in cluster.processes(["coordinator"]) { kill(pid, SIGKILL) }
      try cluster.wait("the drained node") { try cluster.cli(["nodes", "list"]).out.contains("DRAINED") }
      #expect(try cluster.run(waiting)["state"] == "RUNNING")
      #expect(try cluster.cli(["nodes", "uncordon", "w0"]).err.contains("ready"))
      #expect(try cluster.finish(waiting)["state"] == "SUCCEEDED")
    }
  }
}
