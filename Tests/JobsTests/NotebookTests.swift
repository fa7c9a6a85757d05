// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@testable import Jobs
@testable import Scheduling

/// Notebooks in both forms, and their pages.
@Suite struct NotebookTests {
  private static let source = """
    # Databricks notebook source
    # MAGIC %md
    # MAGIC # A title
    # MAGIC and **text**

    # COMMAND ----------

    # MAGIC %pip install -q "six==1.17.0" --index-url https://x/simple
    # MAGIC %pip install own

    # COMMAND ----------

    # DBTITLE 1,A name
    n = int(dbutils.widgets.get("n"))
    print("{{n}}")

    # COMMAND ----------

    # MAGIC %sh
    # MAGIC ls

    # COMMAND ----------


    """

  private func sources(_ notebook: JSONValue) -> [String] {
    (notebook["cells"]?.arrayValue ?? []).map { "\($0["cell_type"]?.stringValue?.first ?? "?") \($0["source"]?.stringValue ?? "")" }
  }

  @Test func theSourceFormatBecomesCells() throws {
    let notebook = try NotebookSource(Self.source)
    #expect(
      sources(notebook.notebook) == [
        "m # A title\nand **text**",
        "c # installed before the notebook began\n# %pip install -q \"six==1.17.0\" --index-url https://x/simple\n# %pip install own",
        "c n = int(dbutils.widgets.get(\"n\"))\nprint(\"{{n}}\")", "c %%sh\nls",
      ])
    #expect(notebook.requirements == ["six==1.17.0", "--index-url https://x/simple", "own"])
  }

  @Test func cellsOfOtherNotebooksTakeThePlaceOfRun() throws {
    let head = "# Databricks notebook source\n"
    let texts = [
      "lib/helpers": head + "# MAGIC %pip install six\n# COMMAND ----------\n# MAGIC %run ./deep/more.py\n# COMMAND ----------\na = 1",
      "lib/deep/more.py": head + "# MAGIC %md more\n# COMMAND ----------\nb = 2", "/Shared/x": head + "# MAGIC %run /Shared/x",
    ]
    func read(_ main: String) throws -> NotebookSource {
      try NotebookSource(head + main, at: "src/main.py") { path throws(NotebookSource.Problem) in texts[path] }
    }
    let notebook = try read("x = 0\n# COMMAND ----------\n# MAGIC %run ../lib/helpers\n# COMMAND ----------\nprint(a, b)")
    #expect(
      sources(notebook.notebook) == ["c x = 0", "c # installed before the notebook began\n# %pip install six", "m more", "c b = 2", "c a = 1", "c print(a, b)"])
    #expect(notebook.requirements == ["six"])
    // What is not there yet is left out: it is read, and then the notebook once more.
    #expect(try sources(read("# MAGIC %run ./later\n# COMMAND ----------\n1").notebook) == ["c 1"])
    do {
      _ = try read("# MAGIC %run /Shared/x")
      Issue.record("a notebook that runs itself")
    } catch let problem as NotebookSource.Problem { #expect(problem.message.contains("5 levels deep"), "\(problem.message)") }
  }

  @Test func jupytersFormatStaysWhatItIsWithoutItsOutputs() throws {
    let text = #"""
      {"nbformat": 4, "nbformat_minor": 2, "metadata": {"language_info": {"name": "python"}}, "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": ["# a\n", "b"]},
        {"cell_type": "code", "metadata": {}, "source": "!ls\n1", "outputs": [{"output_type": "stream"}], "execution_count": 3}]}
      """#
    let notebook = try NotebookSource(text).notebook
    #expect(sources(notebook) == ["m # a\nb", "c !ls\n1"])
    #expect(notebook["cells"]?.arrayValue?[1]["outputs"] == [] && notebook["nbformat_minor"] == 5)
  }

  @Test(arguments: [
    ("print(1)", "does not begin with"), ("{\"cells\": 5}", "no notebook of Jupyter's"), ("{broken", "no notebook of Jupyter's"), ("", "does not begin with"),
    (#"{"cells": [], "metadata": {"kernelspec": {"language": "R"}}}"#, "in R"),
    ("# Databricks notebook source\n# MAGIC %sql select 1", "cell 1 begins with %sql"),
    ("# Databricks notebook source\nx\n# COMMAND ----------\n# MAGIC %run ./other", "runs 'other', which is not there"),
    ("# Databricks notebook source\n# MAGIC %run ./other $a=1", "takes no arguments"), ("# Databricks notebook source\n# MAGIC %run ../other", "leads out"),
    ("# Databricks notebook source\n# MAGIC %run", "names one notebook"),
    ("# Databricks notebook source\n# MAGIC %run ./a\n# MAGIC x = 1", "alone in its cell"),
    ("# Databricks notebook source\n# MAGIC %pip uninstall six", "'%pip uninstall' is not possible"),
  ])
  func whatIsNoNotebookHereIsSaid(_ text: String, _ message: String) {
    do {
      _ = try NotebookSource(text)
      Issue.record("not refused")
    } catch {
      #expect(error.message.contains(message), "\(error.message)")
    }
  }

  @Test func aTaskTakesItsNotebookAndAsksForAKernel() throws {
    let settings: JSONValue = ["tasks": [["task_key": "a", "notebook_task": ["notebook_path": "/Volumes/m/d/c/n.py", "base_parameters": ["n": "5"]]]]]
    let parsed = JobSettings.run(settings, parameters: [:], attachments: ["/Volumes/m/d/c/n.py": Self.source])
    #expect(parsed.errors == [])
    let task = try #require(parsed.run?.tasks.first)
    #expect(task.body["packages"]?["requirements"] == ["six==1.17.0", "--index-url https://x/simple", "own", "ipykernel", "nbclient", "nbformat"])
    let body = try Template.texts(in: task.body, TemplateScope())
    #expect(sources(try JSONValue(parsing: body["notebook"]?.stringValue ?? ""))[2].contains("{{n}}") && body["pip"] == nil)
    let bad = JobSettings.run(settings, parameters: [:], attachments: ["/Volumes/m/d/c/n.py": "1"])
    #expect(bad.errors.map(\.number) == ["PLT-4340"])
    #expect(JobSettings.check(settings).errors == [])
  }

  @Test func aPageHoldsTextAndPicturesOnly() {
    let page = NotebookPage.html(
      [
        "cells": [
          ["cell_type": "markdown", "source": ["<script>a</script>"]],
          [
            "cell_type": "code", "source": "x",
            "outputs": [
              ["output_type": "stream", "text": ["<b>\n"]], ["output_type": "error", "traceback": ["\u{1B}[31mbad <i>\u{1B}[39m"]],
              ["output_type": "display_data", "data": ["image/png": "aGk=", "text/html": "<script>b</script>", "text/plain": "p"]],
              ["output_type": "display_data", "data": ["image/png": "\"><script>", "text/plain": "<plain>"]],
            ],
          ],
        ]
      ], title: "t<", state: "SUCCEEDED")
    #expect(!page.contains("<script") && !page.contains("<b>") && !page.contains("\u{1B}"))
    #expect(page.contains("src=\"data:image/png;base64,aGk=\"") && page.contains("bad &lt;i&gt;") && page.contains("&lt;plain&gt;") && page.contains("t&lt;"))
  }
}
