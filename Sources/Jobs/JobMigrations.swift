// SPDX-License-Identifier: Apache-2.0

public import Postgres

/// Tables of the scheduler, of runs and of the nodes that may join.
public enum JobMigrations {
  public static let all: [Migration] = own + ClusterEventStore.migrations

  private static let own: [Migration] = [
    Migration(
      component: "jobs", number: 1, name: "scheduler state, runs, metrics, logs, nodes",
      sql: """
        CREATE TABLE scheduler_lease (
          singleton int PRIMARY KEY CHECK (singleton = 1),
          epoch bigint NOT NULL,
          holder text NOT NULL,
          expires_at timestamptz NOT NULL
        );
        INSERT INTO scheduler_lease VALUES (1, 0, '', now());

        CREATE SEQUENCE run_ids START 1;
        CREATE TABLE runs (
          run_id text PRIMARY KEY,
          name text NOT NULL,
          idempotency_key text UNIQUE,
          spec jsonb NOT NULL,
          submitted_by text NOT NULL DEFAULT '',
          submitted_at timestamptz NOT NULL DEFAULT now()
        );

        CREATE TABLE job_records (
          key text PRIMARY KEY,
          kind text NOT NULL,
          run_id text,
          task_key text,
          task_attempt int,
          stage int,
          state text NOT NULL,
          worker text,
          terminal boolean NOT NULL,
          body jsonb NOT NULL,
          updated_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX job_records_by_run ON job_records (run_id);
        CREATE INDEX job_records_live ON job_records (kind) WHERE NOT terminal;

        CREATE TABLE stage_commits (
          commit_key text PRIMARY KEY,
          outcome jsonb NOT NULL,
          committed_at timestamptz NOT NULL DEFAULT now()
        );

        CREATE TABLE run_metrics (
          run_id text NOT NULL,
          task_key text NOT NULL,
          name text NOT NULL,
          step bigint NOT NULL,
          value double precision NOT NULL,
          recorded_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (run_id, task_key, name, step)
        );

        CREATE TABLE run_logs (
          id bigserial PRIMARY KEY,
          run_id text NOT NULL,
          task_key text NOT NULL,
          attempt int NOT NULL,
          unit text NOT NULL,
          recorded_at timestamptz NOT NULL DEFAULT now(),
          line text NOT NULL
        );
        CREATE INDEX run_logs_by_run ON run_logs (run_id, id);

        CREATE TABLE nodes (
          name text PRIMARY KEY,
          public_key text NOT NULL UNIQUE,
          admitted_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE TABLE join_tokens (
          hash text PRIMARY KEY,
          expires_at timestamptz NOT NULL,
          uses_left int NOT NULL
        );
        """),
    Migration(
      component: "jobs", number: 2, name: "stored jobs, where runs come from, repairs",
      sql: """
        CREATE TABLE jobs (
          job_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
          name text NOT NULL,
          settings jsonb NOT NULL,
          attachments jsonb NOT NULL DEFAULT '{}',
          creator text NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX jobs_by_name ON jobs (lower(name));

        ALTER TABLE runs ADD COLUMN job_id bigint, ADD COLUMN run_type text NOT NULL DEFAULT 'SUBMIT_RUN', ADD COLUMN settings jsonb,
          ADD COLUMN parameters jsonb NOT NULL DEFAULT '{}', ADD COLUMN trigger text NOT NULL DEFAULT 'ONE_TIME', ADD COLUMN parent_run text,
          ADD COLUMN depth int NOT NULL DEFAULT 0, ADD COLUMN deleted boolean NOT NULL DEFAULT false;
        CREATE INDEX runs_newest ON runs ((run_id::bigint) DESC) WHERE NOT deleted;
        CREATE INDEX runs_of_jobs ON runs (job_id, (run_id::bigint) DESC) WHERE job_id IS NOT NULL;
        CREATE INDEX runs_of_parents ON runs (parent_run) WHERE parent_run IS NOT NULL;

        CREATE TABLE run_repairs (
          repair_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
          run_id text NOT NULL,
          number int NOT NULL,
          tasks jsonb NOT NULL,
          before jsonb NOT NULL,
          requested_by text NOT NULL,
          requested_at timestamptz NOT NULL DEFAULT now(),
          UNIQUE (run_id, number)
        );
        """),
    Migration(
      component: "jobs", number: 3, name: "times of jobs",
      sql: """
        CREATE TABLE job_triggers (
          job_id bigint PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
          definition text NOT NULL,
          handled_until timestamptz NOT NULL
        );
        """),
    Migration(
      component: "jobs", number: 4, name: "packages of runs",
      sql: """
        CREATE TABLE run_environments (
          run_id text NOT NULL,
          digest text NOT NULL,
          lock jsonb NOT NULL,
          PRIMARY KEY (run_id, digest)
        );
        """),
    Migration(
      component: "jobs", number: 5, name: "notifications",
      sql: """
        CREATE TABLE notification_destinations (
          id uuid PRIMARY KEY,
          display_name text NOT NULL,
          kind text NOT NULL,
          secret bytea NOT NULL,
          created_by text NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE TABLE notifications (
          number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
          id uuid NOT NULL DEFAULT gen_random_uuid(),
          run_id text NOT NULL,
          task_key text NOT NULL,
          occasion text NOT NULL,
          cycle int NOT NULL,
          target text NOT NULL,
          body jsonb NOT NULL,
          state text NOT NULL DEFAULT 'waiting',
          attempts int NOT NULL DEFAULT 0,
          error text NOT NULL DEFAULT '',
          created_at timestamptz NOT NULL DEFAULT now(),
          next_at timestamptz NOT NULL DEFAULT now(),
          ended_at timestamptz,
          UNIQUE (run_id, task_key, occasion, cycle, target)
        );
        CREATE INDEX notifications_waiting ON notifications (target, number) WHERE state = 'waiting';
        CREATE INDEX notifications_ended ON notifications (ended_at) WHERE state <> 'waiting';
        ALTER TABLE runs ADD COLUMN notifications jsonb;
        """),
    Migration(component: "jobs", number: 6, name: "what triggers have seen", sql: "ALTER TABLE job_triggers ADD COLUMN state jsonb;"),
    Migration(
      component: "jobs", number: 7, name: "runs by time", sql: "CREATE INDEX runs_by_time ON runs (submitted_at) WHERE NOT deleted;"),
    Migration(
      component: "jobs", number: 8, name: "rights of jobs",
      sql: """
        ALTER TABLE jobs ADD COLUMN owner text;
        CREATE TABLE job_grants (
          job_id bigint NOT NULL REFERENCES jobs ON DELETE CASCADE,
          grantee text NOT NULL,
          level text NOT NULL,
          PRIMARY KEY (job_id, grantee)
        );
        ALTER TABLE runs ADD COLUMN grants jsonb;
        """),
  ]
}
