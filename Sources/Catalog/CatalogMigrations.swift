// SPDX-License-Identifier: Apache-2.0

public import Postgres

/// Tables of the catalog: securables, access tokens, lineage, audit.
public enum CatalogMigrations {
  public static let all: [Migration] = [
    Migration(
      component: "catalog", number: 1, name: "securables, tokens, lineage, audit",
      sql: """
        CREATE TABLE catalogs (
          name text PRIMARY KEY, comment text NOT NULL DEFAULT '', created_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE TABLE schemas (
          catalog text NOT NULL REFERENCES catalogs (name), name text NOT NULL, comment text NOT NULL DEFAULT '',
          created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (catalog, name)
        );
        CREATE TABLE tables (
          id uuid PRIMARY KEY, catalog text NOT NULL, schema text NOT NULL, name text NOT NULL, location text NOT NULL,
          columns jsonb NOT NULL, comment text NOT NULL DEFAULT '', owner text NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(),
          UNIQUE (catalog, schema, name), FOREIGN KEY (catalog, schema) REFERENCES schemas (catalog, name)
        );
        CREATE TABLE volumes (
          catalog text NOT NULL, schema text NOT NULL, name text NOT NULL, location text NOT NULL, owner text NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (catalog, schema, name), FOREIGN KEY (catalog, schema) REFERENCES schemas (catalog, name)
        );
        CREATE TABLE models (
          catalog text NOT NULL, schema text NOT NULL, name text NOT NULL, comment text NOT NULL DEFAULT '', owner text NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (catalog, schema, name), FOREIGN KEY (catalog, schema) REFERENCES schemas (catalog, name)
        );
        CREATE TABLE model_versions (
          catalog text NOT NULL, schema text NOT NULL, model text NOT NULL, version int NOT NULL, kind text NOT NULL,
          location text NOT NULL, run_id text, facts jsonb NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (catalog, schema, model, version),
          FOREIGN KEY (catalog, schema, model) REFERENCES models (catalog, schema, name)
        );
        CREATE TABLE model_aliases (
          catalog text NOT NULL, schema text NOT NULL, model text NOT NULL, alias text NOT NULL, version int NOT NULL,
          PRIMARY KEY (catalog, schema, model, alias),
          FOREIGN KEY (catalog, schema, model, version) REFERENCES model_versions (catalog, schema, model, version)
        );
        CREATE TABLE vector_indexes (
          catalog text NOT NULL, schema text NOT NULL, name text NOT NULL, source_table text NOT NULL,
          source_version bigint NOT NULL, location text NOT NULL, facts jsonb NOT NULL,
          updated_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (catalog, schema, name), FOREIGN KEY (catalog, schema) REFERENCES schemas (catalog, name)
        );
        CREATE TABLE endpoints (
          name text PRIMARY KEY, kind text NOT NULL, model text NOT NULL, replicas int NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE TABLE lineage (
          id bigserial PRIMARY KEY, source_kind text NOT NULL, source text NOT NULL, source_version bigint,
          target_kind text NOT NULL, target text NOT NULL, target_version bigint, run_id text, task_key text,
          recorded_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX lineage_by_target ON lineage (target);
        CREATE INDEX lineage_by_source ON lineage (source);
        CREATE TABLE audit (
          id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), actor text NOT NULL, action text NOT NULL,
          object text NOT NULL, outcome text NOT NULL
        );
        CREATE TABLE access_tokens (
          id uuid PRIMARY KEY, principal text NOT NULL, hash text NOT NULL UNIQUE,
          created_at timestamptz NOT NULL DEFAULT now(), expires_at timestamptz, revoked_at timestamptz
        );
        CREATE TABLE drift (
          table_name text NOT NULL, column_name text NOT NULL, run_id text NOT NULL, baseline text NOT NULL,
          psi double precision, ks double precision, js double precision, alert boolean NOT NULL,
          recorded_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (table_name, column_name, run_id)
        );
        """),
    Migration(
      component: "catalog", number: 2, name: "managed and external volumes",
      sql: """
        ALTER TABLE volumes ADD COLUMN kind text NOT NULL DEFAULT 'managed' CHECK (kind IN ('managed', 'external')),
          ADD COLUMN comment text NOT NULL DEFAULT '';
        CREATE UNIQUE INDEX volumes_by_location ON volumes (location);
        """),
    Migration(
      component: "catalog", number: 3, name: "identifiers, owners and properties of everything; external tables",
      sql: """
        ALTER TABLE catalogs ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid(), ADD COLUMN owner text NOT NULL DEFAULT 'platform',
          ADD COLUMN properties jsonb NOT NULL DEFAULT '{}', ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
        ALTER TABLE schemas ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid(), ADD COLUMN owner text NOT NULL DEFAULT 'platform',
          ADD COLUMN properties jsonb NOT NULL DEFAULT '{}', ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
        ALTER TABLE tables ADD COLUMN kind text NOT NULL DEFAULT 'managed' CHECK (kind IN ('managed', 'external')),
          ADD COLUMN properties jsonb NOT NULL DEFAULT '{}';
        ALTER TABLE volumes ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid(), ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
        ALTER TABLE models ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid(), ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
        CREATE INDEX catalogs_by_folded_name ON catalogs (lower(name));
        CREATE INDEX schemas_by_folded_name ON schemas (lower(catalog), lower(name));
        CREATE INDEX tables_by_folded_name ON tables (lower(catalog), lower(schema), lower(name));
        CREATE INDEX volumes_by_folded_name ON volumes (lower(catalog), lower(schema), lower(name));
        CREATE INDEX models_by_folded_name ON models (lower(catalog), lower(schema), lower(name));
        """),
    Migration(
      component: "catalog", number: 4,
      name: "renaming, undrop, unique names in any case, versions in the making, locations, credentials, connections, tags, constraints",
      sql: """
        ALTER TABLE schemas DROP CONSTRAINT schemas_catalog_fkey,
          ADD CONSTRAINT schemas_catalog_fkey FOREIGN KEY (catalog) REFERENCES catalogs (name) ON UPDATE CASCADE;
        ALTER TABLE tables DROP CONSTRAINT tables_catalog_schema_fkey,
          ADD CONSTRAINT tables_catalog_schema_fkey FOREIGN KEY (catalog, schema) REFERENCES schemas (catalog, name) ON UPDATE CASCADE;
        ALTER TABLE volumes DROP CONSTRAINT volumes_catalog_schema_fkey,
          ADD CONSTRAINT volumes_catalog_schema_fkey FOREIGN KEY (catalog, schema) REFERENCES schemas (catalog, name) ON UPDATE CASCADE;
        ALTER TABLE models DROP CONSTRAINT models_catalog_schema_fkey,
          ADD CONSTRAINT models_catalog_schema_fkey FOREIGN KEY (catalog, schema) REFERENCES schemas (catalog, name) ON UPDATE CASCADE;
        ALTER TABLE model_versions DROP CONSTRAINT model_versions_catalog_schema_model_fkey,
          ADD CONSTRAINT model_versions_catalog_schema_model_fkey FOREIGN KEY (catalog, schema, model)
            REFERENCES models (catalog, schema, name) ON UPDATE CASCADE;
        ALTER TABLE model_aliases DROP CONSTRAINT model_aliases_catalog_schema_model_version_fkey,
          ADD CONSTRAINT model_aliases_catalog_schema_model_version_fkey FOREIGN KEY (catalog, schema, model, version)
            REFERENCES model_versions (catalog, schema, model, version) ON UPDATE CASCADE ON DELETE CASCADE;
        ALTER TABLE vector_indexes DROP CONSTRAINT vector_indexes_catalog_schema_fkey,
          ADD CONSTRAINT vector_indexes_catalog_schema_fkey FOREIGN KEY (catalog, schema) REFERENCES schemas (catalog, name) ON UPDATE CASCADE;

        UPDATE catalogs SET name = name || '_' || left(id::text, 8) WHERE id IN (SELECT id FROM (
          SELECT id, row_number() OVER (PARTITION BY lower(name) ORDER BY created_at, name) AS n FROM catalogs) x WHERE n > 1);
        UPDATE schemas SET name = name || '_' || left(id::text, 8) WHERE id IN (SELECT id FROM (
          SELECT id, row_number() OVER (PARTITION BY lower(catalog), lower(name) ORDER BY created_at, name) AS n FROM schemas) x WHERE n > 1);
        UPDATE tables SET name = name || '_' || left(id::text, 8) WHERE id IN (SELECT id FROM (
          SELECT id, row_number() OVER (PARTITION BY lower(catalog), lower(schema), lower(name) ORDER BY created_at, name) AS n FROM tables) x
          WHERE n > 1);
        UPDATE volumes SET name = name || '_' || left(id::text, 8) WHERE id IN (SELECT id FROM (
          SELECT id, row_number() OVER (PARTITION BY lower(catalog), lower(schema), lower(name) ORDER BY created_at, name) AS n FROM volumes) x
          WHERE n > 1);
        UPDATE models SET name = name || '_' || left(id::text, 8) WHERE id IN (SELECT id FROM (
          SELECT id, row_number() OVER (PARTITION BY lower(catalog), lower(schema), lower(name) ORDER BY created_at, name) AS n FROM models) x
          WHERE n > 1);
        DROP INDEX catalogs_by_folded_name;
        DROP INDEX schemas_by_folded_name;
        DROP INDEX tables_by_folded_name;
        DROP INDEX volumes_by_folded_name;
        DROP INDEX models_by_folded_name;
        CREATE UNIQUE INDEX catalogs_by_folded_name ON catalogs (lower(name));
        CREATE UNIQUE INDEX schemas_by_folded_name ON schemas (lower(catalog), lower(name));
        CREATE UNIQUE INDEX tables_by_folded_name ON tables (lower(catalog), lower(schema), lower(name));
        CREATE UNIQUE INDEX volumes_by_folded_name ON volumes (lower(catalog), lower(schema), lower(name));
        CREATE UNIQUE INDEX models_by_folded_name ON models (lower(catalog), lower(schema), lower(name));

        ALTER TABLE catalogs ADD COLUMN created_by text, ADD COLUMN updated_by text;
        ALTER TABLE schemas ADD COLUMN created_by text, ADD COLUMN updated_by text;
        ALTER TABLE tables ADD COLUMN created_by text, ADD COLUMN updated_by text;
        ALTER TABLE volumes ADD COLUMN created_by text, ADD COLUMN updated_by text;
        ALTER TABLE models ADD COLUMN created_by text, ADD COLUMN updated_by text, ADD COLUMN next_version int NOT NULL DEFAULT 1;
        UPDATE models SET next_version = 1 + coalesce((SELECT max(version) FROM model_versions v
          WHERE v.catalog = models.catalog AND v.schema = models.schema AND v.model = models.name), 0);
        ALTER TABLE model_versions ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid(), ADD COLUMN comment text NOT NULL DEFAULT '',
          ADD COLUMN status text NOT NULL DEFAULT 'READY' CHECK (status IN ('PENDING_REGISTRATION', 'READY', 'FAILED_REGISTRATION')),
          ADD COLUMN source text, ADD COLUMN managed boolean NOT NULL DEFAULT false, ADD COLUMN created_by text, ADD COLUMN updated_by text,
          ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
        CREATE UNIQUE INDEX volumes_by_identifier ON volumes (id);
        CREATE INDEX tables_by_location ON tables (location text_pattern_ops);

        CREATE TABLE dropped (
          kind text NOT NULL CHECK (kind IN ('catalog', 'schema', 'table', 'volume')), id uuid NOT NULL,
          catalog text NOT NULL, schema text NOT NULL DEFAULT '', name text NOT NULL DEFAULT '',
          location text, managed boolean NOT NULL DEFAULT false, entry jsonb NOT NULL, batch uuid NOT NULL,
          is_purging boolean NOT NULL DEFAULT false, dropped_by text NOT NULL, dropped_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (kind, id)
        );
        CREATE INDEX dropped_by_name ON dropped (kind, lower(catalog), lower(schema), lower(name), dropped_at DESC);
        CREATE INDEX dropped_by_batch ON dropped (batch);
        CREATE INDEX dropped_by_time ON dropped (dropped_at);

        CREATE TABLE tags (
          object uuid NOT NULL, column_name text NOT NULL DEFAULT '', key text NOT NULL, value text NOT NULL DEFAULT '',
          updated_by text NOT NULL, updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (object, column_name, key)
        );
        CREATE INDEX tags_by_key ON tags (key, value);
        CREATE TABLE table_constraints (
          table_id uuid NOT NULL, name text NOT NULL, kind text NOT NULL CHECK (kind IN ('primary_key', 'foreign_key', 'named')),
          columns text[] NOT NULL, timeseries text[] NOT NULL DEFAULT '{}', parent uuid, parent_columns text[] NOT NULL DEFAULT '{}',
          rely boolean NOT NULL DEFAULT false, created_by text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (table_id, name)
        );
        CREATE UNIQUE INDEX one_primary_key ON table_constraints (table_id) WHERE kind = 'primary_key';
        CREATE INDEX table_constraints_by_parent ON table_constraints (parent);

        CREATE TABLE storage_credentials (
          id uuid PRIMARY KEY, name text NOT NULL UNIQUE, kind text NOT NULL, facts jsonb NOT NULL, secret bytea, purpose text NOT NULL,
          is_read_only boolean NOT NULL DEFAULT false, comment text NOT NULL DEFAULT '', owner text NOT NULL,
          created_by text, updated_by text, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE UNIQUE INDEX storage_credentials_by_folded_name ON storage_credentials (lower(name));
        CREATE TABLE external_locations (
          id uuid PRIMARY KEY, name text NOT NULL UNIQUE, url text NOT NULL UNIQUE, credential uuid REFERENCES storage_credentials (id),
          is_read_only boolean NOT NULL DEFAULT false, is_seed boolean NOT NULL DEFAULT false, comment text NOT NULL DEFAULT '',
          owner text NOT NULL, created_by text, updated_by text,
          created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE UNIQUE INDEX external_locations_by_folded_name ON external_locations (lower(name));
        CREATE TABLE connections (
          id uuid PRIMARY KEY, name text NOT NULL UNIQUE, kind text NOT NULL, options jsonb NOT NULL, secret bytea, properties jsonb NOT NULL,
          is_read_only boolean NOT NULL DEFAULT false, comment text NOT NULL DEFAULT '', owner text NOT NULL,
          created_by text, updated_by text, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE UNIQUE INDEX connections_by_folded_name ON connections (lower(name));

        CREATE TABLE staging_tables (
          id uuid PRIMARY KEY, catalog text NOT NULL, schema text NOT NULL, name text NOT NULL, location text NOT NULL UNIQUE,
          created_by text NOT NULL, created_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE TABLE delta_commits (
          table_id uuid NOT NULL, version bigint NOT NULL, file_name text NOT NULL, file_size bigint NOT NULL,
          file_modified_at bigint NOT NULL, committed_at bigint NOT NULL, is_backfilled boolean NOT NULL DEFAULT false,
          PRIMARY KEY (table_id, version)
        );
        """),
    Migration(
      component: "catalog", number: 5, name: "views and functions",
      sql: """
        ALTER TABLE tables DROP CONSTRAINT tables_kind_check,
          ADD CONSTRAINT tables_kind_check CHECK (kind IN ('managed', 'external', 'view')), ADD COLUMN view jsonb,
          ADD CONSTRAINT tables_view_check CHECK ((kind = 'view') = (view IS NOT NULL));
        CREATE TABLE functions (
          id uuid PRIMARY KEY, catalog text NOT NULL, schema text NOT NULL, name text NOT NULL, definition jsonb NOT NULL,
          comment text NOT NULL DEFAULT '', owner text NOT NULL, properties jsonb NOT NULL DEFAULT '{}', created_by text, updated_by text,
          created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(),
          UNIQUE (catalog, schema, name), FOREIGN KEY (catalog, schema) REFERENCES schemas (catalog, name) ON UPDATE CASCADE
        );
        CREATE UNIQUE INDEX functions_by_folded_name ON functions (lower(catalog), lower(schema), lower(name));
        ALTER TABLE lineage ADD COLUMN actor text;
        CREATE TABLE column_lineage (
          id bigserial PRIMARY KEY, source text NOT NULL, source_column text NOT NULL, source_version bigint, target text NOT NULL,
          target_column text NOT NULL, target_version bigint, run_id text, task_key text, actor text,
          recorded_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX column_lineage_by_target ON column_lineage (target, target_column);
        CREATE INDEX column_lineage_by_source ON column_lineage (source, source_column);
        """),
    Migration(
      component: "catalog", number: 6, name: "functions are brought back, too",
      sql: """
        ALTER TABLE dropped DROP CONSTRAINT dropped_kind_check,
          ADD CONSTRAINT dropped_kind_check CHECK (kind IN ('catalog', 'schema', 'table', 'volume', 'function'));
        """),
    Migration(
      component: "catalog", number: 7, name: "models are brought back, too",
      sql: """
        ALTER TABLE dropped DROP CONSTRAINT dropped_kind_check,
          ADD CONSTRAINT dropped_kind_check CHECK (kind IN ('catalog', 'schema', 'table', 'volume', 'function', 'model')),
          ADD COLUMN parts jsonb;
        """),
    Migration(
      component: "catalog", number: 8, name: "versions are given back to a table's log",
      sql: "ALTER TABLE delta_commits ADD COLUMN is_last boolean NOT NULL DEFAULT false;"),
    Migration(
      component: "catalog", number: 9, name: "secrets of programs",
      sql: """
        CREATE TABLE secret_scopes (
          name text PRIMARY KEY, created_by text NOT NULL, created_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE TABLE secrets (
          scope text NOT NULL REFERENCES secret_scopes (name) ON DELETE CASCADE, key text NOT NULL, value bytea NOT NULL,
          updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (scope, key)
        );
        """),
    Migration(
      component: "catalog", number: 10, name: "users",
      sql: """
        CREATE TABLE users (
          name text PRIMARY KEY, is_administrator boolean NOT NULL, created_by text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
          deleted_at timestamptz
        );
        INSERT INTO users (name, is_administrator, created_by) SELECT DISTINCT principal, true, 'platform' FROM access_tokens;
        ALTER TABLE access_tokens ADD COLUMN comment text NOT NULL DEFAULT '';
        """),
    Migration(
      component: "catalog", number: 11, name: "git credentials",
      sql: """
        CREATE TABLE git_credentials (
          id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, owner text NOT NULL, provider text NOT NULL, name text NOT NULL, host text NOT NULL,
          username text NOT NULL, email text NOT NULL, is_default boolean NOT NULL, seal text NOT NULL, password bytea NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX git_credentials_of_owners ON git_credentials (owner, host);
        """),
    Migration(
      component: "catalog", number: 12, name: "adapters of endpoints",
      sql: """
        CREATE TABLE endpoint_adapters (
          name text PRIMARY KEY, endpoint text NOT NULL REFERENCES endpoints (name) ON DELETE CASCADE, model text NOT NULL, location text NOT NULL
        );
        """),
    Migration(
      component: "catalog", number: 13, name: "adapters that requests bring",
      sql: "ALTER TABLE endpoint_adapters ADD COLUMN is_loaded boolean NOT NULL DEFAULT false;"),
  ]
}
