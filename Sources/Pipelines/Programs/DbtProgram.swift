// SPDX-License-Identifier: Apache-2.0

/// The program of a `dbt_task`: runs dbt's commands one after the other in the project's folder, and leaves what dbt has written about them as artifacts.
public enum DbtProgram {
  public static let name = "run_dbt.py"
  /// In the program's home.
  public static let folder = "project"

  public static let text = """
    # SPDX-License-Identifier: Apache-2.0
    import json
    import os
    import shlex
    import shutil
    import subprocess
    import sys

    import taskvalues

    settings = json.loads(sys.argv[1])
    project = os.environ["HOME"] + "/project"
    os.chdir(project)
    dbt = shutil.which("dbt")
    if dbt is None:
        sys.exit("there is no dbt in the task's environment; give it one with its adapter: libraries: [ { pypi: { package: dbt-duckdb } } ]")
    os.environ.setdefault("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
    os.environ.setdefault("DBT_USE_COLORS", "false")
    if settings["profiles"]:
        os.environ["DBT_PROFILES_DIR"] = os.path.join(project, settings["profiles"])
    elif os.path.exists("profiles.yml"):
        os.environ.setdefault("DBT_PROFILES_DIR", project)
    for name in ("catalog", "schema"):
        if settings[name]:
            os.environ.setdefault("DBT_" + name.upper(), settings[name])

    failure = None
    for words in settings["commands"]:
        sys.stdout.write("$ " + shlex.join(words) + "\\n")
        sys.stdout.flush()
        code = subprocess.run([dbt] + words[1:]).returncode
        if code:
            failure = f"{shlex.join(words)} ended with exit code {code}"
            break

    target = os.environ.get("DBT_TARGET_PATH", "target")
    kept = [target + "/" + name for name in ("manifest.json", "run_results.json", "catalog.json", "sources.json", "semantic_manifest.json")]
    for path in kept + [os.environ.get("DBT_LOG_PATH", "logs") + "/dbt.log"]:
        if os.path.isfile(path):
            shutil.copy(path, os.environ["PLATFORM_TASK_ARTIFACTS"])
    if os.path.isfile(target + "/run_results.json"):
        counts = {}
        with open(target + "/run_results.json", encoding="utf-8") as file:
            for result in json.load(file).get("results", []):
                counts[result["status"]] = counts.get(result["status"], 0) + 1
        taskvalues.set("run_results", counts)
    if failure:
        sys.exit(failure)

    """
}
