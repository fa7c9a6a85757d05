// SPDX-License-Identifier: Apache-2.0

/// What a new project begins with.
public enum ProjectTemplate {
  /// Texts by path, in order.
  public static func files(_ name: String) -> [(path: String, text: String)] {
    [
      (
        "platform.yml",
        """
        # 'platform explain FIELD' says what a field is for; 'platform schema' prints a schema for editors.
        bundle: { name: \(name) }
        include: [ "resources/*.yml" ]
        variables:
          catalog: { default: main, description: Where tables are. }
        targets:
          dev: { mode: development, default: true }
          prod: { mode: production }

        """
      ),
      (
        "resources/refresh.yml",
        """
        resources:
          schemas:
            data: { catalog_name: "${var.catalog}", name: \(name), comment: Tables of \(name). }
          jobs:
            refresh:
              name: refresh \(name)
              schedule: { quartz_cron_expression: "0 30 2 * * ?", timezone_id: UTC }
              parameters: [ { name: day, default: "{{job.start_time.iso_date}}" } ]
              tasks:
                - task_key: count
                  spark_python_task: { python_file: ../src/count.py, parameters: [ "{{job.parameters.day}}" ] }
                - task_key: write
                  depends_on: [ { task_key: count } ]
                  sql_task:
                    file: { path: ../src/write.sql }
                    catalog: "${var.catalog}"
                    schema: "${resources.schemas.data.name}"
                    parameters: { day: "{{job.parameters.day}}", n: "{{tasks.count.values.n}}" }

        """
      ),
      ("src/count.py", "import sys, taskvalues\n\nday = sys.argv[1]\nprint(\"counting for\", day)\ntaskvalues.set(\"n\", len(day))\n"),
      ("src/write.sql", "create or replace table counts as select :day as day, :n as n\n"),
    ]
  }
}
