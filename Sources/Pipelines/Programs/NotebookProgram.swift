// SPDX-License-Identifier: Apache-2.0

/// The program of a `notebook_task`: runs a notebook on a kernel of Jupyter's, prints what its cells print while they run, and leaves the notebook with
/// its outputs behind, also when a cell fails.
public enum NotebookProgram {
  public static let name = "run_notebook.py"
  /// In the program's home: the notebook, and what has become of it.
  public static let source = "notebook.ipynb"
  public static let executed = "executed.ipynb"
  public static let moduleName = "platform_notebook.py"
  /// Name of the value that `dbutils.notebook.exit` leaves.
  public static let exitValue = "notebook_output"

  public static let text = """
    # SPDX-License-Identifier: Apache-2.0
    import os
    import re
    import sys

    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    home = os.environ["HOME"]
    os.makedirs(home + "/.ipython/profile_default/startup")
    with open(home + "/.ipython/profile_default/startup/00-platform.py", "w") as file:
        file.write("from platform_notebook import dbutils\\n")
    os.environ["IPYTHONDIR"] = home + "/.ipython"
    os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
    os.environ["PLATFORM_NOTEBOOK_WIDGETS"] = sys.argv[1]
    notebook = nbformat.read(home + "/notebook.ipynb", as_version=4)


    def show(text):
        sys.stdout.write(text)
        sys.stdout.flush()


    class Client(NotebookClient):
        def output(self, outs, message, display_id, cell_index):
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                show(content["text"])
            elif kind in ("execute_result", "display_data"):
                show(content["data"].get("text/plain", "") + "\\n")
            return super().output(outs, message, display_id, cell_index)


    def number():
        # Of the last code cell that began, as people count all cells.
        begun = [n for n, cell in enumerate(notebook.cells, 1) if cell.cell_type == "code" and (cell.outputs or cell.execution_count)]
        return begun[-1] if begun else 1


    failure = None
    try:
        Client(notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": home}}).execute()
    except CellExecutionError as error:
        if error.ename == "NotebookExit":
            cell = notebook.cells[number() - 1]
            cell.outputs = [output for output in cell.outputs if output.get("ename") != "NotebookExit"]
        else:
            trace = next((o.traceback for o in notebook.cells[number() - 1].outputs if o.get("output_type") == "error"), [])
            show(re.sub(r"\\x1b\\[[0-9;]*m", "", "\\n".join(trace)) + "\\n")
            failure = f"cell {number()}: {error.ename}: {error.evalue}"
    except DeadKernelError:
        failure = f"cell {number()}: the kernel died"
    finally:
        with open(home + "/executed.ipynb", "w") as file:
            nbformat.write(notebook, file)
    if failure:
        sys.exit(failure)

    """

  /// The module that gives notebooks their `dbutils`.
  public static let module = """
    # SPDX-License-Identifier: Apache-2.0
    \"\"\"What notebooks know as dbutils: widgets, notebook.exit, jobs.taskValues.\"\"\"
    import json as _json
    import os as _os

    import taskvalues as _taskvalues


    class NotebookExit(Exception):
        def _render_traceback_(self):
            return []


    class _Widgets:
        def __init__(self):
            self._given = _json.loads(_os.environ.get("PLATFORM_NOTEBOOK_WIDGETS", "{}"))
            self._defaults = {}

        def get(self, name):
            if name in self._given:
                return self._given[name]
            if name in self._defaults:
                return self._defaults[name]
            raise KeyError(f"no widget '{name}'; base_parameters: {sorted(self._given)}")

        def getAll(self):
            return {**self._defaults, **self._given}

        def getArgument(self, name, default=None):
            return self.getAll().get(name, default)

        def text(self, name, defaultValue="", label=None):
            self._defaults[name] = defaultValue

        def dropdown(self, name, defaultValue, choices=(), label=None):
            self._defaults[name] = defaultValue

        combobox = multiselect = dropdown

        def remove(self, name):
            self._defaults.pop(name, None)

        def removeAll(self):
            self._defaults.clear()


    class _Notebook:
        def exit(self, value=""):
            _taskvalues.set("notebook_output", str(value))
            raise NotebookExit(str(value))


    class _Jobs:
        taskValues = _taskvalues


    class _DBUtils:
        widgets = _Widgets()
        notebook = _Notebook()
        jobs = _Jobs()

        def __getattr__(self, name):
            raise AttributeError(f"dbutils.{name} is not built here: there are widgets, notebook.exit and jobs.taskValues")


    dbutils = _DBUtils()

    """
}
