// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// People's Python with packages: by Databricks' own client, from wheels that the test makes. Nothing is fetched from anywhere.
  @Suite(.serialized) struct PythonEnvironmentTests {
    /// Python that writes wheels: `make(path, "name", "1.0", {"name.py": text}, entries)`.
    static let wheels = #"""
      import io, json, os, sys, time, zipfile
      def wheel(name, version, files, entries=""):
          info, out = f"{name}-{version}.dist-info", io.BytesIO()
          files = {**files, f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
                   f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
          if entries: files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{entries}\n"
          with zipfile.ZipFile(out, "w") as archive:
              for path, text in files.items(): archive.writestr(zipfile.ZipInfo(path), text)
              archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"]))
          return out.getvalue()
      """#

    private static let client =
      wheels + #"""

        from databricks.sdk import WorkspaceClient
        from databricks.sdk.service import compute as c, jobs as j
        w = WorkspaceClient(host=sys.argv[1], token=sys.argv[2])
        house, cache = sys.argv[3:5]
        V = "/Volumes/main/default/code"
        def upload(name, data): w.files.upload(f"{V}/{name}", io.BytesIO(data), overwrite=True)
        def house_wheel(name, version, text):
            with open(f"{house}/{name}-{version}-py3-none-any.whl", "wb") as file: file.write(wheel(name, version, {f"{name}.py": text}))
        def ended(run_id):
            deadline = time.time() + 600
            while time.time() < deadline:
                run = w.jobs.get_run(run_id)
                if run.state.life_cycle_state.value in ("TERMINATED", "SKIPPED", "INTERNAL_ERROR"): return run
                time.sleep(0.1)
            raise TimeoutError(str(run.state))
        def states(run): return {t.task_key: t.state.result_state.value for t in run.tasks}
        def output(run, key): return w.jobs.get_run_output([t for t in run.tasks if t.task_key == key][0].run_id)

        house_wheel("tinydep", "1.0", "version = '1.0'\n")
        upload("mine-1.0-py3-none-any.whl", wheel("mine", "1.0", {"mine.py": """
        import sys, taskvalues, tinydep
        def main():
            print("main", sys.argv, tinydep.version)
            taskvalues.set("version", tinydep.version)
            return {"not": "an exit code"}
        def named(): print("named", sys.argv)
        """}, "run=mine:main"))
        upload("use.py", b"import sys, tinydep\nprint('uses', tinydep.version, sys.prefix != sys.base_prefix)\n")
        upload("list.txt", b"# what it needs\ntinydep\n")
        environment = j.JobEnvironment(environment_key="default", spec=c.Environment(client="2", dependencies=["tinydep", f"{V}/mine-1.0-py3-none-any.whl"]))
        job = w.jobs.create(name="wheels", environments=[environment], tasks=[
            j.Task(task_key="wheel", environment_key="default", python_wheel_task=j.PythonWheelTask(package_name="mine", entry_point="run", parameters=["a", "{{job.name}}"])),
            j.Task(task_key="named", environment_key="default", python_wheel_task=j.PythonWheelTask(package_name="mine", entry_point="named", named_parameters={"n": "1"})),
            j.Task(task_key="script", environment_key="default", spark_python_task=j.SparkPythonTask(python_file=f"{V}/use.py")),
            j.Task(task_key="list", libraries=[c.Library(requirements=f"{V}/list.txt")], spark_python_task=j.SparkPythonTask(python_file=f"{V}/use.py")),
        ]).job_id
        first = ended(w.jobs.run_now(job).run_id)
        logs = {key: output(first, key).logs for key in states(first)}
        assert set(states(first).values()) == {"SUCCESS"}, (states(first), logs)
        assert logs["wheel"].endswith("main ['run', 'a', 'wheels'] 1.0\n") and "tinydep 1.0" in logs["wheel"], logs
        assert logs["named"].endswith("named ['named', '--n=1']\n") and logs["script"].endswith("uses 1.0 True\n"), logs
        # Three tasks at once need the same environment: it was made once.
        assert sum("makes the environment 'default'" in text for text in logs.values()) == 1, logs
        def kept(): return [f for f in os.listdir(cache) if f.endswith(".json") and json.load(open(f"{cache}/{f}"))["lock"]["packages"]]
        assert len(kept()) == 2, os.listdir(cache)

        # What the run has got stays what it gets, also where it has to be made again; another run gets what is newest.
        house_wheel("tinydep", "2.0", "version = '2.0'\n")
        for record in kept(): os.unlink(f"{cache}/{record}")
        w.jobs.repair_run(first.run_id, rerun_tasks=["script"])
        again = output(ended(first.run_id), "script")
        assert again.logs.endswith("uses 1.0 True\n") and "makes the environment" in again.logs, again
        second = ended(w.jobs.run_now(job).run_id)
        assert output(second, "wheel").logs.endswith("2.0\n"), output(second, "wheel")

        # What cannot be had is said, and what a run was started with does not change under it.
        def one(name, **more): return j.SubmitTask(task_key="t", python_wheel_task=j.PythonWheelTask(package_name="mine", entry_point=name), **more)
        missing = ended(w.jobs.submit(tasks=[one("run", libraries=[c.Library(pypi=c.PythonPyPiLibrary(package="nosuch-package==9"))])]).run_id)
        error = output(missing, "t")
        assert error.error.endswith("cannot be installed: No matching distribution found for nosuch-package==9"), error
        assert "ERROR: Could not find a version" in error.logs, error
        bare = output(ended(w.jobs.submit(tasks=[one("run")]).run_id), "t").error
        assert "there is no package 'mine' here" in bare, bare

        # Secrets reach the program and nobody else.
        from databricks.sdk.errors import NotFound, ResourceAlreadyExists, InvalidParameterValue
        import base64
        def refused(error, call):
            try: call()
            except error: return
            raise AssertionError("not refused")
        value = "s3cret-of-the-team"
        w.secrets.create_scope("team")
        refused(ResourceAlreadyExists, lambda: w.secrets.create_scope("team"))
        refused(InvalidParameterValue, lambda: w.secrets.create_scope("a/b"))
        w.secrets.put_secret("team", "token", string_value="first")
        w.secrets.put_secret("team", "token", string_value=value)
        w.secrets.put_secret("team", "bytes", bytes_value=base64.b64encode(b"\xff").decode())
        assert [s.name for s in w.secrets.list_scopes()] == ["team"] and [s.key for s in w.secrets.list_secrets("team")] == ["bytes", "token"]
        assert base64.b64decode(w.secrets.get_secret("team", "token").value).decode() == value
        upload("tell.py", b"import os, sys, taskvalues\nv = os.environ['TOKEN']\nassert len(v) == 18\nprint('it is', v)\ntaskvalues.set('v', [v])\nsys.exit(0 if 'OK' in os.environ else v)\n")
        def told(env): return ended(w.api_client.do("POST", "/api/2.2/jobs/runs/submit", body={"tasks": [
            {"task_key": "t", "spark_python_task": {"python_file": f"{V}/tell.py", "env": env}}]})["run_id"])
        good = told({"TOKEN": "{{secrets/team/token}}", "OK": "1"})
        assert output(good, "t").logs == "it is [REDACTED]\n", output(good, "t")
        assert w.api_client.do("GET", "/api/2.2/jobs/runs/get", query={"run_id": good.tasks[0].run_id})["tasks"][0]["values"]["v"] == ["[REDACTED]"]
        failed = output(told({"TOKEN": "{{secrets/team/token}}"}), "t")
        assert failed.error == "the program ended with exit code 1: [REDACTED]" and value not in str(failed.as_dict()), failed
        assert "the secret 'team/bytes' is not there" in output(told({"TOKEN": "{{secrets/team/bytes}}"}), "t").error
        w.secrets.delete_secret("team", "token")
        refused(NotFound, lambda: w.secrets.get_secret("team", "token"))
        w.secrets.delete_scope("team")
        refused(NotFound, lambda: list(w.secrets.list_secrets("team")))
        """#

    @Test(.enabled(if: Peers.python != nil, "no peer environment"))
    func programsGetTheirPackagesOnceAndTheSameForAWholeRun() throws {
      let cluster = try LocalCluster("wheels")
      let house = cluster.folder.file("house")
      try FileManager.default.createDirectory(atPath: house, withIntermediateDirectories: true)
      let up = try cluster.cli(
        ["up", "--workers", "2", "--bind", cluster.http, "--node-bind", cluster.nodes], environment: ["PIP_FIND_LINKS": house, "PIP_NO_INDEX": "1"])
      #expect(up.status == 0, "\(up.all)")
      #expect(try cluster.cli(["sql", "create volume main.default.code"]).status == 0)
      _ = try Peers.run(Self.client, ["http://\(cluster.http)", cluster.token, house, cluster.data + "/environments"])
      // Neither what runs, nor what was logged, nor any other record of the database holds the value.
      let dump = try LocalCluster.run("/bin/sh", ["-c", "grep -rl s3cret-of-the-team \"$0\"/pg/base \"$0\"/logs \"$0\"/workers", cluster.data], timeout: 60)
      #expect(dump.out.isEmpty, "\(dump.out)")
    }

    private static let notebooks = #"""
      import io, sys, time
      from databricks.sdk import WorkspaceClient
      from databricks.sdk.service import jobs as j
      w = WorkspaceClient(host=sys.argv[1], token=sys.argv[2])
      V = "/Volumes/main/default/code"
      def upload(name, text): w.files.upload(f"{V}/{name}", io.BytesIO(text.encode()), overwrite=True)
      def ended(run_id):
          deadline = time.time() + 600
          while time.time() < deadline:
              run = w.jobs.get_run(run_id)
              if run.state.life_cycle_state.value in ("TERMINATED", "SKIPPED", "INTERNAL_ERROR"): return run
              time.sleep(0.1)
          raise TimeoutError(str(run.state))
      def output(run, key): return w.jobs.get_run_output([t for t in run.tasks if t.task_key == key][0].run_id)
      upload("good.py", '''
      # Databricks notebook source
      # MAGIC %md
      # MAGIC # Squares
      # COMMAND ----------
      # MAGIC %run ./lib/helpers
      # COMMAND ----------
      n = int(dbutils.widgets.get("n"))
      print("n is", n)
      square(n)
      # COMMAND ----------
      dbutils.jobs.taskValues.set("square", n * n)
      dbutils.notebook.exit(f"<b>{n * n}</b>")
      # COMMAND ----------
      print("never")
      '''.replace("\n      ", "\n").lstrip())
      upload("lib/helpers.py", "# Databricks notebook source\n# MAGIC %run ./more\n# COMMAND ----------\ndef square(n): return power(n, 2)\n")
      upload("lib/more.py", "# Databricks notebook source\ndef power(n, e): return n ** e\n")
      upload("bad.ipynb", '{"cells": [{"cell_type": "code", "source": "print(\'before\')"}, {"cell_type": "code", "source": "1 / 0"}], "metadata": {}, "nbformat": 4}')
      def nb(name, **p): return j.NotebookTask(notebook_path=f"{V}/{name}", base_parameters=p)
      run = ended(w.jobs.submit(tasks=[j.SubmitTask(task_key="good", notebook_task=nb("good.py", n="7")), j.SubmitTask(task_key="bad", notebook_task=nb("bad.ipynb"))]).run_id)
      good, bad = output(run, "good"), output(run, "bad")
      assert good.notebook_output and good.notebook_output.result == "<b>49</b>", good
      assert "n is 7\n49\n" in good.logs and "never" not in good.logs, good.logs
      assert bad.error.endswith("cell 2: ZeroDivisionError: division by zero") and "before\n" in bad.logs, bad
      views = {v.name: v.content for v in w.jobs.export_run(run.run_id).views}
      assert "n is 7" in views["good"] and "# Squares" in views["good"] and "ZeroDivisionError" in views["bad"], views
      import json
      assert json.loads(views["bad.ipynb"])["cells"][1]["outputs"][0]["ename"] == "ZeroDivisionError"
      """#

    @Test(.enabled(if: Peers.kernelWheels != nil, "no wheels of a notebook's kernel"))
    func notebooksRunOnAKernelAndKeepTheirOutputs() throws {
      let cluster = try LocalCluster("notebooks")
      let house = cluster.folder.file("house")
      // Others than this user have to be able to read them.
      try FileManager.default.copyItem(atPath: #require(Peers.kernelWheels), toPath: house)
      let up = try cluster.cli(
        ["up", "--workers", "1", "--bind", cluster.http, "--node-bind", cluster.nodes], environment: ["PIP_FIND_LINKS": house, "PIP_NO_INDEX": "1"])
      #expect(up.status == 0, "\(up.all)")
      #expect(try cluster.cli(["sql", "create volume main.default.code"]).status == 0)
      _ = try Peers.run(Self.notebooks, ["http://\(cluster.http)", cluster.token])
    }

    private static let repository = #"""
      import os, subprocess, sys, time
      from databricks.sdk import WorkspaceClient
      from databricks.sdk.errors import DatabricksError
      from databricks.sdk.service import jobs as j
      w = WorkspaceClient(host=sys.argv[1], token=sys.argv[2])
      folder = sys.argv[3]
      repo = folder + "/repo"
      environment = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": folder}
      for who in ("AUTHOR", "COMMITTER"): environment.update({f"GIT_{who}_NAME": "t", f"GIT_{who}_EMAIL": "t@example.org"})
      def git(*words): return subprocess.run(["git", *words], check=True, capture_output=True, text=True, env=environment).stdout.strip()
      def commit(files):
          for name, text in files.items():
              os.makedirs(os.path.dirname(f"{repo}/{name}"), exist_ok=True)
              with open(f"{repo}/{name}", "w") as file: file.write(text)
          git("-C", repo, "add", "-A"); git("-C", repo, "commit", "-q", "-m", "x")
          return git("-C", repo, "rev-parse", "HEAD")
      def ended(run_id):
          deadline = time.time() + 120
          while time.time() < deadline:
              run = w.jobs.get_run(run_id)
              if run.state.life_cycle_state.value in ("TERMINATED", "SKIPPED", "INTERNAL_ERROR"): return run
              time.sleep(0.1)
          raise TimeoutError(str(run.state))
      git("init", "-q", "-b", "main", repo)
      first = commit({"jobs/say.py": "print('first')\n", "q.sql": "select 1 as n"})
      git("-C", repo, "tag", "v1")
      os.symlink("/etc/passwd", repo + "/link.py")
      second = commit({"jobs/say.py": "print('second')\n"})
      say = j.SparkPythonTask(python_file="jobs/say.py", source=j.Source.GIT)
      def source(**more): return j.GitSource(git_url=repo, git_provider=j.GitProvider.GIT_HUB, **more)
      job = w.jobs.create(name="g", git_source=source(git_branch="main"), tasks=[
          j.Task(task_key="say", spark_python_task=say), j.Task(task_key="sql", sql_task=j.SqlTask(file=j.SqlTaskFile(path="q.sql"), warehouse_id="x"))]).job_id
      def logs(run): return w.jobs.get_run_output([t for t in run.tasks if t.task_key == "say"][0].run_id).logs
      run = ended(w.jobs.run_now(job).run_id)
      assert run.state.result_state.value == "SUCCESS" and logs(run) == "second\n", run
      assert run.git_source.git_snapshot.used_commit == second, run.git_source
      commit({"jobs/say.py": "print('third')\n"})
      # A repair stays with the commit of its run.
      w.jobs.repair_run(run.run_id, rerun_tasks=["say"])
      assert logs(ended(run.run_id)) == "second\n"
      for more, text in [({"git_tag": "v1"}, "first\n"), ({"git_commit": second}, "second\n"), ({"git_branch": "main"}, "third\n")]:
          assert logs(ended(w.jobs.submit(git_source=source(**more), tasks=[j.SubmitTask(task_key="say", spark_python_task=say)]).run_id)) == text, more
      def refused(words, git_source, path="jobs/say.py"):
          try: w.jobs.submit(git_source=git_source, tasks=[j.SubmitTask(task_key="say", spark_python_task=j.SparkPythonTask(python_file=path, source=j.Source.GIT))])
          except DatabricksError as error:
              assert words in str(error), (words, str(error))
              return
          raise AssertionError(words)
      refused("no ordinary file", source(git_branch="main"), "link.py")
      refused("is not in commit", source(git_branch="main"), "none.py")
      refused("no path inside", source(git_branch="main"), "../x.py")
      refused("cannot be fetched", source(git_branch="none"))
      refused("outside of the folders", j.GitSource(git_url="/etc", git_provider=j.GitProvider.GIT_HUB, git_branch="main"))
      refused("no public address", j.GitSource(git_url="https://127.0.0.1:1/a", git_provider=j.GitProvider.GIT_HUB, git_branch="main"))
      refused("is not possible", j.GitSource(git_url="ext::sh -c id", git_provider=j.GitProvider.GIT_HUB, git_branch="main"))
      """#

    @Test(.enabled(if: Peers.python != nil, "no peer environment"))
    func filesOfAJobComeFromOneCommit() throws {
      let cluster = try LocalCluster("git")
      let folder = cluster.folder.file("allowed")
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      #expect(try cluster.start(workers: 1).status == 0)
      let made = try cluster.cli(["locations", "create", "repositories", "file://" + folder])
      #expect(made.status == 0, "\(made.all)")
      _ = try Peers.run(Self.repository, ["http://\(cluster.http)", cluster.token, folder])
    }
  }
}
