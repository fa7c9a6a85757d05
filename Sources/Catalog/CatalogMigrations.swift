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
  ]
}
