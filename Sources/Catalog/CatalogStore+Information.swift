// SPDX-License-Identifier: Apache-2.0

public import Core
import Postgres

/// What the catalog knows, as relations: the `information_schema` of every catalog, and what happened in `system.access`.
extension CatalogStore {
  /// A relation that the catalog fills. Names and types of columns, and the query that fills it; `$1` is a catalog, or NULL for all.
  public struct Information: Sendable {
    /// Types: `text`, `int`, or `time` for microseconds since 1970.
    public var columns: [(name: String, type: String)]
    var sql: String
  }

  /// At most this many rows of a relation are shown: the newest, where there is a time.
  public static let informationLimit = 200_000

  /// - Parameters:
  ///   - schema: `information_schema`, `access` or `query`.
  ///   - name: in small letters.
  public static func information(schema: String, name: String) -> Information? { information["\(schema).\(name)"] }

  /// Rows as nil, `Int64` or `String`, by column.
  public func rows(of relation: Information, catalog: String?) async throws -> [[JSONValue]] {
    try await pool.query("SELECT * FROM (\(relation.sql)) AS x LIMIT \(Self.informationLimit)", [.optional(catalog)]).map { row in
      try relation.columns.map { column in
        if column.type == "text" {
          let text: String? = try row.get(column.name)
          return text.map { .string($0) } ?? .null
        }
        let number: Int? = try row.get(column.name)
        return number.map { .integer(Int64($0)) } ?? .null
      }
    }
  }

  private static func relation(_ columns: String, _ sql: String) -> Information {
    Information(
      columns: columns.split(separator: " ").map { word in
        let parts = word.split(separator: ":")
        return (String(parts[0]), parts.count > 1 ? String(parts[1]) : "text")
      }, sql: sql)
  }

  /// The simple name of a type whose full text `column` gives: `STRING`, `DECIMAL`, `ARRAY`.
  private static func dataType(_ column: String) -> String {
    let names = [
      "VARCHAR": "STRING", "BLOB": "BINARY", "INTEGER": "INT", "TIMESTAMP WITH TIME ZONE": "TIMESTAMP", "TIMESTAMP": "TIMESTAMP_NTZ",
    ]
    let base = "upper(trim(split_part(\(column), '(', 1)))"
    return "CASE WHEN \(column) LIKE '%]' THEN 'ARRAY' "
      + names.sorted { $0.key < $1.key }.map { "WHEN \(base) = '\($0.key)' THEN '\($0.value)' " }.joined() + "ELSE \(base) END"
  }

  private static func micros(_ column: String) -> String { "(extract(epoch FROM \(column)) * 1000000)::bigint" }
  private static let changes = "created:time created_by last_altered:time last_altered_by"
  private static let changed =
    "\(micros("created_at")) AS created, coalesce(created_by, owner) AS created_by, \(micros("updated_at")) AS last_altered, coalesce(updated_by, owner) AS last_altered_by"
  private static let ofCatalog = "($1::text IS NULL OR catalog = $1)"

  private static let information: [String: Information] = [
    "information_schema.information_schema_catalog_name": relation(
      "catalog_name", "SELECT name AS catalog_name FROM catalogs WHERE $1::text IS NULL OR name = $1 ORDER BY 1"),
    "information_schema.catalogs": relation(
      "catalog_name catalog_owner comment \(changes)",
      "SELECT name AS catalog_name, owner AS catalog_owner, comment, \(changed) FROM catalogs WHERE $1::text IS NULL OR name = $1 ORDER BY 1"),
    "information_schema.schemata": relation(
      "catalog_name schema_name schema_owner comment \(changes)",
      "SELECT catalog AS catalog_name, name AS schema_name, owner AS schema_owner, comment, \(changed) FROM schemas WHERE \(ofCatalog) ORDER BY 1, 2"),
    "information_schema.tables": relation(
      "table_catalog table_schema table_name table_type is_insertable_into table_owner comment data_source_format storage_path \(changes)",
      """
      SELECT catalog AS table_catalog, schema AS table_schema, name AS table_name, upper(kind) AS table_type,
        CASE kind WHEN 'view' THEN 'NO' ELSE 'YES' END AS is_insertable_into, owner AS table_owner, comment,
        CASE kind WHEN 'view' THEN NULL ELSE 'DELTA' END AS data_source_format, nullif(location, '') AS storage_path, \(changed)
      FROM tables WHERE \(ofCatalog) ORDER BY 1, 2, 3
      """),
    "information_schema.columns": relation(
      "table_catalog table_schema table_name column_name ordinal_position:int is_nullable full_data_type data_type comment",
      """
      SELECT catalog AS table_catalog, schema AS table_schema, name AS table_name, c.value->>'name' AS column_name, c.n AS ordinal_position,
        CASE WHEN (c.value->>'isNullable')::boolean IS FALSE THEN 'NO' ELSE 'YES' END AS is_nullable, c.value->>'type' AS full_data_type,
        \(dataType("c.value->>'type'")) AS data_type, c.value->>'comment' AS comment
      FROM tables, jsonb_array_elements(columns) WITH ORDINALITY AS c(value, n) WHERE \(ofCatalog) ORDER BY 1, 2, 3, 5
      """),
    "information_schema.views": relation(
      "table_catalog table_schema table_name view_definition check_option is_updatable is_insertable_into",
      """
      SELECT catalog AS table_catalog, schema AS table_schema, name AS table_name, view->>'query' AS view_definition, 'NONE' AS check_option,
        'NO' AS is_updatable, 'NO' AS is_insertable_into
      FROM tables WHERE kind = 'view' AND \(ofCatalog) ORDER BY 1, 2, 3
      """),
    "information_schema.volumes": relation(
      "volume_catalog volume_schema volume_name volume_type volume_owner comment storage_location \(changes)",
      """
      SELECT catalog AS volume_catalog, schema AS volume_schema, name AS volume_name, upper(kind) AS volume_type, owner AS volume_owner, comment,
        location AS storage_location, \(changed) FROM volumes WHERE \(ofCatalog) ORDER BY 1, 2, 3
      """),
    "information_schema.routines": relation(
      "specific_catalog specific_schema specific_name routine_catalog routine_schema routine_name routine_type data_type full_data_type routine_body routine_definition is_deterministic routine_owner comment \(changes)",
      """
      SELECT catalog AS specific_catalog, schema AS specific_schema, name AS specific_name, catalog AS routine_catalog, schema AS routine_schema,
        name AS routine_name, 'FUNCTION' AS routine_type, upper(split_part(coalesce(definition->>'returns', 'table'), '(', 1)) AS data_type,
        coalesce(definition->>'returns', 'TABLE') AS full_data_type, 'SQL' AS routine_body, definition->>'body' AS routine_definition,
        CASE (definition->>'isDeterministic')::boolean WHEN true THEN 'YES' WHEN false THEN 'NO' END AS is_deterministic, owner AS routine_owner,
        comment, \(changed) FROM functions WHERE \(ofCatalog) ORDER BY 1, 2, 3
      """),
    "information_schema.parameters": relation(
      "specific_catalog specific_schema specific_name ordinal_position:int parameter_mode parameter_name data_type full_data_type parameter_default comment",
      """
      SELECT catalog AS specific_catalog, schema AS specific_schema, name AS specific_name, p.n AS ordinal_position, 'IN' AS parameter_mode,
        p.value->>'name' AS parameter_name, \(dataType("p.value->>'type'")) AS data_type, p.value->>'type' AS full_data_type,
        p.value->>'defaultValue' AS parameter_default, p.value->>'comment' AS comment
      FROM functions, jsonb_array_elements(definition->'parameters') WITH ORDINALITY AS p(value, n) WHERE \(ofCatalog) ORDER BY 1, 2, 3, 4
      """),
    "information_schema.routine_columns": relation(
      "specific_catalog specific_schema specific_name column_name ordinal_position:int full_data_type comment",
      """
      SELECT catalog AS specific_catalog, schema AS specific_schema, name AS specific_name, c.value->>'name' AS column_name,
        c.n AS ordinal_position, c.value->>'type' AS full_data_type, c.value->>'comment' AS comment
      FROM functions, jsonb_array_elements(definition->'columns') WITH ORDINALITY AS c(value, n) WHERE \(ofCatalog) ORDER BY 1, 2, 3, 5
      """),
    "information_schema.table_constraints": relation(
      "constraint_catalog constraint_schema constraint_name table_catalog table_schema table_name constraint_type enforced",
      """
      SELECT catalog AS constraint_catalog, schema AS constraint_schema, k.name AS constraint_name, catalog AS table_catalog,
        schema AS table_schema, t.name AS table_name, upper(replace(k.kind, '_', ' ')) AS constraint_type, 'NO' AS enforced
      FROM table_constraints k JOIN tables t ON t.id = k.table_id WHERE k.kind <> 'named' AND \(ofCatalog) ORDER BY 1, 2, 6, 3
      """),
    "information_schema.key_column_usage": relation(
      "constraint_catalog constraint_schema constraint_name table_catalog table_schema table_name column_name ordinal_position:int",
      """
      SELECT catalog AS constraint_catalog, schema AS constraint_schema, k.name AS constraint_name, catalog AS table_catalog,
        schema AS table_schema, t.name AS table_name, c.value AS column_name, c.n AS ordinal_position
      FROM table_constraints k JOIN tables t ON t.id = k.table_id, unnest(k.columns) WITH ORDINALITY AS c(value, n)
      WHERE k.kind <> 'named' AND \(ofCatalog) ORDER BY 1, 2, 6, 3, 8
      """),
    "information_schema.table_tags": relation(
      "catalog_name schema_name table_name tag_name tag_value",
      """
      SELECT catalog AS catalog_name, schema AS schema_name, name AS table_name, g.key AS tag_name, g.value AS tag_value
      FROM tables t JOIN tags g ON g.object = t.id AND g.column_name = '' WHERE \(ofCatalog) ORDER BY 1, 2, 3, 4
      """),
    "information_schema.column_tags": relation(
      "catalog_name schema_name table_name column_name tag_name tag_value",
      """
      SELECT catalog AS catalog_name, schema AS schema_name, name AS table_name, g.column_name, g.key AS tag_name, g.value AS tag_value
      FROM tables t JOIN tags g ON g.object = t.id AND g.column_name <> '' WHERE \(ofCatalog) ORDER BY 1, 2, 3, 4, 5
      """),
    "information_schema.schema_tags": relation(
      "catalog_name schema_name tag_name tag_value",
      """
      SELECT catalog AS catalog_name, name AS schema_name, g.key AS tag_name, g.value AS tag_value
      FROM schemas s JOIN tags g ON g.object = s.id WHERE \(ofCatalog) ORDER BY 1, 2, 3
      """),
    "information_schema.catalog_tags": relation(
      "catalog_name tag_name tag_value",
      """
      SELECT name AS catalog_name, g.key AS tag_name, g.value AS tag_value
      FROM catalogs s JOIN tags g ON g.object = s.id WHERE $1::text IS NULL OR name = $1 ORDER BY 1, 2
      """),
    "access.audit": relation(
      "event_time:time user_identity action_name object_name response",
      "SELECT \(micros("at")) AS event_time, actor AS user_identity, action AS action_name, object AS object_name, outcome AS response FROM audit WHERE $1::text IS NULL OR true ORDER BY id DESC"
    ),
    "access.table_lineage": relation(
      "source_table_full_name source_type source_version:int target_table_full_name target_type target_version:int entity_run_id created_by event_time:time",
      """
      SELECT source AS source_table_full_name, upper(source_kind) AS source_type, source_version, target AS target_table_full_name,
        upper(target_kind) AS target_type, target_version, run_id AS entity_run_id, actor AS created_by, \(micros("recorded_at")) AS event_time
      FROM lineage WHERE $1::text IS NULL OR true ORDER BY id DESC
      """),
    "access.column_lineage": relation(
      "source_table_full_name source_column_name source_version:int target_table_full_name target_column_name target_version:int entity_run_id created_by event_time:time",
      """
      SELECT source AS source_table_full_name, source_column AS source_column_name, source_version, target AS target_table_full_name,
        target_column AS target_column_name, target_version, run_id AS entity_run_id, actor AS created_by, \(micros("recorded_at")) AS event_time
      FROM column_lineage WHERE $1::text IS NULL OR true ORDER BY id DESC
      """),
  ]
}
