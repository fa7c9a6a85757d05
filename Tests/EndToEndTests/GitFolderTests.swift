// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Repositories in the workspace, by Databricks' own client and by the command line; jobs name files in them.
  @Suite(.serialized) struct GitFolderTests {
    private static let client = #"""
      import os, subprocess, sys, time
      from databricks.sdk import WorkspaceClient
      from databricks.sdk.errors import DatabricksError, InvalidParameterValue, NotFound, PermissionDenied, ResourceAlreadyExists, ResourceConflict
      from databricks.sdk.service import compute as c, jobs as j, workspace as ws
      w = WorkspaceClient(host=sys.argv[1], token=sys.argv[2])
      folder = sys.argv[3]
      repo = folder + "/jobs.git"
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
      def refused(error, words, call):
          try: call()
          except error as e:
              assert words in str(e), (words, str(e))
              return
          raise AssertionError("not refused: " + words)

      git("init", "-q", "-b", "trunk", repo)
      refused(InvalidParameterValue, "has no commit", lambda: w.repos.create(repo, "gitHub", path="/Repos/t/empty"))
      first = commit({"src/say.py": "print('first')\n", "q.sql": "select 1 as n", "needs.txt": "# nothing\n"})
      git("-C", repo, "tag", "-a", "v1", "-m", "one")
      git("-C", repo, "branch", "side")
      os.symlink("/etc/passwd", repo + "/link.py")
      second = commit({"src/say.py": "print('second')\n"})

      made = w.repos.create(repo, "github", path="/Workspace/Repos/team/jobs")
      assert (made.path, made.branch, made.head_commit_id, made.url, made.provider) == ("/Repos/team/jobs", "trunk", second, repo, "gitHub"), made
      same = w.repos.get(made.id)
      assert (same.id, same.path, same.branch, same.head_commit_id) == (made.id, made.path, "trunk", second), same
      own = w.repos.create(repo, "gitLab")
      assert own.path.startswith("/Repos/") and own.path.endswith("/jobs"), own
      shared = w.repos.create(repo, "gitLab", path="/Shared/a b")
      # As Databricks has it: without a prefix those of /Repos are listed.
      assert sorted(r.path for r in w.repos.list()) == sorted([made.path, own.path]) == sorted(r.path for r in w.repos.list(path_prefix="/Workspace"))
      assert [r.id for r in w.repos.list(path_prefix="/Workspace/Shared/a")] == [shared.id] and not list(w.repos.list(path_prefix="/Users"))
      page = w.api_client.do("GET", "/api/2.0/repos", query={"all": "true", "page_size": "2"})
      rest = w.api_client.do("GET", "/api/2.0/repos", query={"all": "true", "page_size": "2", "next_page_token": page["next_page_token"]})
      assert [r["path"] for r in page["repos"] + rest["repos"]] == sorted([made.path, own.path, shared.path]) and "next_page_token" not in rest

      def say(path): return j.SubmitTask(task_key="say", spark_python_task=j.SparkPythonTask(python_file=path))
      def logs(run): return w.jobs.get_run_output([t for t in run.tasks if t.task_key == "say"][0].run_id).logs
      job = w.jobs.create(name="g", tasks=[
          j.Task(task_key="say", spark_python_task=j.SparkPythonTask(python_file="/Repos/team/jobs/src/say.py", source=j.Source.WORKSPACE),
                 libraries=[c.Library(requirements="/Workspace/Repos/team/jobs/needs.txt")]),
          j.Task(task_key="sql", sql_task=j.SqlTask(file=j.SqlTaskFile(path="/Workspace/Shared/a b/q.sql", source=j.Source.WORKSPACE), warehouse_id="x"))]).job_id
      def now(): return ended(w.jobs.run_now(job).run_id)
      run = now()
      assert run.state.result_state.value == "SUCCESS" and logs(run) == "second\n", run
      third = commit({"src/say.py": "print('third')\n"})
      assert logs(now()) == "second\n"
      w.repos.update(made.id, branch="trunk")
      assert w.repos.get(made.id).head_commit_id == third and logs(now()) == "third\n"
      # A repair stays with what its run began with.
      w.jobs.repair_run(run.run_id, rerun_tasks=["say"])
      assert logs(ended(run.run_id)) == "second\n"
      w.repos.update(made.id, tag="v1", dangerously_force_discard_all=True)
      at_tag = w.repos.get(made.id)
      assert (at_tag.branch, at_tag.head_commit_id) == (None, first) and logs(now()) == "first\n", at_tag
      w.repos.update(made.id, branch="side")
      assert (w.repos.get(made.id).branch, w.repos.get(made.id).head_commit_id) == ("side", first)

      refused(ResourceAlreadyExists, "already", lambda: w.repos.create(repo, "gitHub", path="/Repos/team/jobs"))
      refused(InvalidParameterValue, "lie in each other", lambda: w.repos.create(repo, "gitHub", path="/Shared/a b/c"))
      refused(InvalidParameterValue, "no git folder at", lambda: w.repos.create(repo, "gitHub", path="/Repos/x"))
      refused(InvalidParameterValue, "no git folder at", lambda: w.repos.create(repo, "gitHub", path="/Volumes/main/default/x"))
      refused(InvalidParameterValue, "is not known", lambda: w.repos.create(repo, "gitHubb", path="/Repos/a/b"))
      refused(InvalidParameterValue, "credential for the host is used", lambda: w.repos.create(repo, "gitHub", path="/Repos/a/b", git_credential_id=1))
      refused(InvalidParameterValue, "sparse_checkout", lambda: w.repos.create(repo, "gitHub", path="/Repos/a/b", sparse_checkout=ws.SparseCheckout(patterns=["a"])))
      for url in ["ext::sh -c id", "file:///etc", "ssh://x/a", "git@github.com:a/b.git", "--upload-pack=id", "http://github.com/a/b", "https://u:p@github.com/a/b"]:
          refused(InvalidParameterValue, "", lambda: w.repos.create(url, "gitHub", path="/Repos/a/b"))
      refused(DatabricksError, "outside of the folders", lambda: w.repos.create("/etc", "gitHub", path="/Repos/a/b"))
      refused(DatabricksError, "no public address", lambda: w.repos.create("https://127.0.0.1:1/a", "gitHub", path="/Repos/a/b"))
      refused(DatabricksError, "no public address", lambda: w.repos.create("https://169.254.169.254/a", "gitHub", path="/Repos/a/b"))
      refused(DatabricksError, "cannot be fetched", lambda: w.repos.create(folder, "gitHub", path="/Repos/a/b"))
      refused(NotFound, "there is no git folder 99", lambda: w.repos.get(99))
      refused(NotFound, "there is no git folder 99", lambda: w.repos.update(99, branch="trunk"))
      refused(NotFound, "has no branch 'trnk'", lambda: w.repos.update(made.id, branch="trnk"))
      refused(NotFound, "has no tag 'v2'", lambda: w.repos.update(made.id, tag="v2"))
      refused(InvalidParameterValue, "one of", lambda: w.repos.update(made.id))
      refused(InvalidParameterValue, "one of", lambda: w.repos.update(made.id, branch="trunk", tag="v1"))
      for name in ["--upload-pack=id", "a..b", "-x"]:
          refused(InvalidParameterValue, "no name of a branch", lambda: w.repos.update(made.id, branch=name))
      assert w.repos.get(made.id).head_commit_id == first
      w.repos.update(made.id, branch="trunk")
      for path, words in [("/Repos/team/jobs/none.py", "is not in commit"), ("/Repos/team/jobs/link.py", "no ordinary file"),
                          ("/Users/me/x.py", "in no git folder"), ("/Repos/team/jobs", "no file"), ("/Repos/team/jobs/../jobs/src/say.py", "no path of the workspace")]:
          refused(DatabricksError, words, lambda: w.jobs.submit(tasks=[say(path)]))
      w.repos.delete(own.id)
      refused(NotFound, "there is no git folder", lambda: w.repos.delete(own.id))
      """#

    @Test(.enabled(if: Peers.python != nil, "no peer environment"))
    func theDatabricksClientKeepsGitFoldersAndJobsUseThem() throws {
      let cluster = try LocalCluster("folders")
      let folder = cluster.folder.file("allowed")
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      #expect(try cluster.start(workers: 1).status == 0)
      let made = try cluster.cli(["locations", "create", "repositories", "file://" + folder])
      #expect(made.status == 0, "\(made.all)")
      _ = try Peers.run(Self.client, ["http://\(cluster.http)", cluster.token, folder])

      // By the command line; a repository that is not there, as after a restore, is fetched again.
      let listed = try cluster.cli(["repos", "list"])
      #expect(listed.status == 0 && listed.out.contains("/Repos/team/jobs") && listed.out.contains("/Shared/a b"), "\(listed.all)")
      try FileManager.default.removeItem(atPath: cluster.data + "/repositories")
      let run = try cluster.submit(
        "resources: { jobs: { j: { tasks: [ { task_key: a, spark_python_task: { python_file: /Repos/team/jobs/src/say.py } } ] } } }")
      #expect(try cluster.finish(run)["state"] == "SUCCEEDED")
      #expect(try cluster.cli(["runs", "logs", run]).out.contains("third"))
      let unknown = try cluster.cli(["repos", "update", "/Repos/team/job", "--branch", "trunk"])
      #expect(unknown.status == 66 && unknown.err.contains("Did you mean '/Repos/team/jobs'?"), "\(unknown.all)")
      let updated = try cluster.cli(["repos", "update", "/Workspace/Repos/team/jobs", "--tag", "v1", "-o", "json"])
      #expect(updated.status == 0, "\(updated.all)")
      #expect(try JSONValue(parsing: updated.out)["tag"] == "v1")
      #expect(try cluster.cli(["repos", "delete", "/Shared/a b", "--yes"]).status == 0)
      #expect(try cluster.cli(["repos", "list", "-o", "json"]).out.contains("Shared") == false)
    }
  }
}
