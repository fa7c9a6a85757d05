-- SPDX-License-Identifier: Apache-2.0
-- Catalogs, schemas, volumes, views and functions.

CREATE CATALOG lab COMMENT 'for trials';
-- ok
CREATE CATALOG lab;
-- error: ALREADY_EXISTS: catalog 'lab' exists already. Use IF NOT EXISTS to leave it as it is.
CREATE CATALOG IF NOT EXISTS lab;
-- ok
CREATE CATALOG `a/b`;
-- error: BAD_REQUEST: 'a/b' is not a usable name
CREATE SCHEMA lab.one COMMENT 'first' WITH DBPROPERTIES ('team' = 'a');
-- ok
CREATE SCHEMA lab.one;
-- error: ALREADY_EXISTS: schema 'lab.one' exists already. Use IF NOT EXISTS to leave it as it is.
CREATE SCHEMA nowhere.one;
-- error: NOT_FOUND: catalog 'nowhere' does not exist
CREATE VOLUME lab.one.raw COMMENT 'files';
-- ok
CREATE VOLUME lab.one.raw;
-- error: ALREADY_EXISTS: volume 'lab.one.raw' exists already. Use IF NOT EXISTS to leave it as it is.
CREATE EXTERNAL VOLUME lab.one.out LOCATION '/etc';
-- error: BAD_REQUEST: volume 'lab.one.out' would be outside of the folders that are allowed for external volumes. None is allowed.
CREATE TABLE lab.one.t AS SELECT range AS a FROM range(5);
-- num_affected_rows
-- 5
CREATE VIEW lab.one.v (a COMMENT 'number', twice) COMMENT 'doubled' AS SELECT a, a * 2 FROM lab.one.t;
-- ok
SELECT * FROM lab.one.v WHERE a > 2 ORDER BY a;
-- a | twice
-- 3 | 6
-- 4 | 8
CREATE VIEW lab.one.v AS SELECT 1 AS a;
-- error: ALREADY_EXISTS: view 'lab.one.v' exists already. Use IF NOT EXISTS to leave it as it is.
CREATE VIEW lab.one.w AS SELECT nothing FROM lab.one.t;
-- error: BAD_REQUEST: Binder Error: Referenced column "nothing" not found in FROM clause!\nCandidate bindings: "a"
CREATE OR REPLACE VIEW lab.one.v AS SELECT a FROM lab.one.v;
-- error: BAD_REQUEST: 'lab.one.v' would read itself: lab.one.v -> lab.one.v
CREATE FUNCTION lab.one.plus(x INT, y INT DEFAULT 1) RETURNS INT COMMENT 'adds' RETURN x + y;
-- ok
SELECT lab.one.plus(1) AS two, lab.one.plus(1, 2) AS three, lab.one.plus(y => 5, x => 1) AS six;
-- two | three | six
-- 2 | 3 | 6
CREATE FUNCTION lab.one.plus(x INT) RETURNS INT RETURN x;
-- error: ALREADY_EXISTS: function 'lab.one.plus' exists already. Use IF NOT EXISTS to leave it as it is.
CREATE FUNCTION lab.one.broken(x INT) RETURNS INT RETURN y;
-- error: BAD_REQUEST: 'y' is no parameter of the function. It has: x.
SELECT lab.one.minus(1);
-- error: NOT_FOUND: function 'lab.one.minus' does not exist. SHOW FUNCTIONS lists those of a schema, docs/sql.md those that Spark has, too.
SELECT lab.one.plus();
-- error: BAD_REQUEST: function 'lab.one.plus(x integer, y integer)': parameter 'x' is not given
CREATE FUNCTION lab.one.below(top BIGINT) RETURNS TABLE (a BIGINT) RETURN SELECT a FROM lab.one.t WHERE a < top;
-- ok
SELECT * FROM lab.one.below(2) ORDER BY a;
-- a
-- 0
-- 1

ALTER CATALOG lab SET OWNER TO ann;
-- ok
ALTER CATALOG nowhere SET OWNER TO ann;
-- error: NOT_FOUND: catalog 'nowhere' does not exist
ALTER SCHEMA lab.one SET TAGS ('cost' = 'eu');
-- ok
ALTER SCHEMA lab.one UNSET TAGS ('cost');
-- ok
ALTER SCHEMA lab.nowhere SET TAGS ('cost' = 'eu');
-- error: NOT_FOUND: schema 'lab.nowhere' does not exist
ALTER VOLUME lab.one.raw RENAME TO lab.one.files;
-- ok
ALTER VOLUME lab.one.raw RENAME TO lab.one.files;
-- error: NOT_FOUND: volume 'lab.one.raw' does not exist
ALTER VIEW lab.one.v SET TBLPROPERTIES ('team' = 'eu');
-- ok
ALTER VIEW lab.one.v UNSET TBLPROPERTIES ('team');
-- ok
ALTER VIEW lab.one.v AS SELECT a, a * 3 AS thrice FROM lab.one.t;
-- ok
ALTER VIEW lab.one.v AS SELECT nothing FROM lab.one.t;
-- error: BAD_REQUEST: Binder Error: Referenced column "nothing" not found in FROM clause!\nCandidate bindings: "a"
ALTER VIEW lab.one.nothing AS SELECT 1 AS a;
-- error: NOT_FOUND: view 'lab.one.nothing' does not exist
SELECT max(thrice) AS top FROM lab.one.v;
-- top
-- 12
COMMENT ON CATALOG lab IS 'trials';
-- ok
COMMENT ON CATALOG nowhere IS 'x';
-- error: NOT_FOUND: catalog 'nowhere' does not exist
COMMENT ON SCHEMA lab.nowhere IS 'one';
-- error: NOT_FOUND: schema 'lab.nowhere' does not exist
COMMENT ON SCHEMA lab.one IS 'one';
-- ok
COMMENT ON VIEW lab.one.v IS 'tripled';
-- ok
COMMENT ON VIEW lab.one.nothing IS 'x';
-- error: NOT_FOUND: view 'lab.one.nothing' does not exist
COMMENT ON VOLUME lab.one.files IS 'loose files';
-- ok
COMMENT ON VOLUME lab.one.nothing IS 'x';
-- error: NOT_FOUND: volume 'lab.one.nothing' does not exist

SHOW CATALOGS LIKE 'l*';
-- catalog
-- lab
SHOW SCHEMAS IN lab;
-- databaseName
-- one
SHOW SCHEMAS IN nowhere;
-- error: NOT_FOUND: catalog 'nowhere' does not exist
SHOW TABLES IN lab.one;
-- database | tableName | isTemporary
-- one | t | false
-- one | v | false
SHOW TABLES IN lab.nowhere;
-- error: NOT_FOUND: schema 'lab.nowhere' does not exist
SHOW VIEWS IN lab.one;
-- namespace | viewName | isTemporary
-- one | v | false
SHOW VIEWS IN lab.nowhere;
-- error: NOT_FOUND: schema 'lab.nowhere' does not exist
SHOW VOLUMES IN lab.one;
-- database | volume_name
-- one | files
SHOW VOLUMES IN lab.nowhere;
-- error: NOT_FOUND: schema 'lab.nowhere' does not exist
SHOW FUNCTIONS IN lab.one;
-- function
-- lab.one.below
-- lab.one.plus
SHOW FUNCTIONS IN lab.nowhere;
-- error: NOT_FOUND: schema 'lab.nowhere' does not exist
DESCRIBE CATALOG lab;
-- info_name | info_value
-- Catalog Name | lab
-- Comment | trials
-- Owner | ann
DESCRIBE CATALOG nowhere;
-- error: NOT_FOUND: catalog 'nowhere' does not exist
DESCRIBE SCHEMA lab.one;
-- info_name | info_value
-- Catalog Name | lab
-- Namespace Name | one
-- Comment | one
-- Owner | admin
DESCRIBE SCHEMA lab.nowhere;
-- error: NOT_FOUND: schema 'lab.nowhere' does not exist
DESCRIBE VOLUME lab.one.files;
-- info_name | info_value
-- name | files
-- catalog | lab
-- database | one
-- owner | admin
-- storage_location | *
-- volume_type | MANAGED
-- comment | loose files
DESCRIBE VOLUME lab.one.nothing;
-- error: NOT_FOUND: volume 'lab.one.nothing' does not exist
DESCRIBE FUNCTION lab.one.plus;
-- info_name | info_value
-- Function | lab.one.plus
-- Type | SCALAR
-- Input | x INTEGER
-- Input | y INTEGER DEFAULT 1
-- Returns | INTEGER
-- Comment | adds
-- Owner | admin
-- Body | x + y
DESCRIBE FUNCTION lab.one.minus;
-- error: NOT_FOUND: function 'lab.one.minus' does not exist
SHOW CREATE TABLE lab.one.v;
-- createtab_stmt
-- USE "main"."default";\nCREATE VIEW "lab"."one"."v" (\n  "a",\n  "thrice"\n)\nCOMMENT 'tripled'\nAS SELECT a, a * 3 AS thrice FROM lab.one.t
SHOW CREATE VIEW lab.one.v;
-- createtab_stmt
-- USE "main"."default";\nCREATE VIEW "lab"."one"."v" (\n  "a",\n  "thrice"\n)\nCOMMENT 'tripled'\nAS SELECT a, a * 3 AS thrice FROM lab.one.t
SHOW CREATE VIEW lab.one.nothing;
-- error: NOT_FOUND: view 'lab.one.nothing' does not exist
SHOW CREATE FUNCTION lab.one.plus;
-- createtab_stmt
-- USE "main"."default";\nCREATE FUNCTION "lab"."one"."plus"("x" INTEGER, "y" INTEGER DEFAULT 1)\nRETURNS INTEGER\nCOMMENT 'adds'\nRETURN x + y
SHOW CREATE FUNCTION lab.one.minus;
-- error: NOT_FOUND: function 'lab.one.minus' does not exist

DROP FUNCTION lab.one.plus;
-- ok
DROP FUNCTION lab.one.plus;
-- error: NOT_FOUND: function 'lab.one.plus' does not exist
UNDROP FUNCTION lab.one.plus;
-- ok
SELECT lab.one.plus(2) AS three;
-- three
-- 3
DROP FUNCTION lab.one.plus;
-- ok
DROP FUNCTION IF EXISTS lab.one.plus;
-- ok
DROP VIEW lab.one.v;
-- ok
DROP VIEW lab.one.v;
-- error: NOT_FOUND: view 'lab.one.v' does not exist
DROP VOLUME lab.one.files;
-- ok
DROP VOLUME lab.one.files;
-- error: NOT_FOUND: volume 'lab.one.files' does not exist
DROP TABLE lab.one.t;
-- ok
SHOW TABLES DROPPED IN lab.one;
-- tableName | tableId | deletedAt | deletedBy
-- lab.one.t | * | admin
-- lab.one.v | * | admin
SHOW TABLES DROPPED IN lab.nowhere;
-- error: NOT_FOUND: schema 'lab.nowhere' does not exist
UNDROP TABLE lab.one.t;
-- ok
UNDROP MODEL lab.one.nobody;
-- error: NOT_FOUND: no dropped model 'lab.one.nobody' can be brought back. What was dropped stays for 7 days.
UNDROP TABLE lab.one.t;
-- error: NOT_FOUND: no dropped table 'lab.one.t' can be brought back. What was dropped stays for 7 days.
SELECT count(*) AS n FROM lab.one.t;
-- n
-- 5
DROP SCHEMA lab.one;
-- error: BAD_REQUEST: schema 'lab.one' is not empty: it has 1 function, 1 table. Remove them first, or say CASCADE (`--force`, `force=true`).
DROP SCHEMA lab.nowhere;
-- error: NOT_FOUND: schema 'lab.nowhere' does not exist
DROP CATALOG lab;
-- error: BAD_REQUEST: catalog 'lab' is not empty: it has 1 schema. Remove them first, or say CASCADE (`--force`, `force=true`).
DROP SCHEMA lab.one CASCADE;
-- ok
DROP CATALOG lab;
-- ok
DROP CATALOG lab;
-- error: NOT_FOUND: catalog 'lab' does not exist
GRANT SELECT ON TABLE main.gold.people TO ann;
-- error: BAD_REQUEST: no statement begins with 'GRANT SELECT'. Statements begin with SELECT, WITH, VALUES, TABLE, PIVOT, UNPIVOT, SUMMARIZE, EXPLAIN, INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY INTO, CREATE, ALTER, DROP, UNDROP, COMMENT ON, USE, SHOW, DESCRIBE, OPTIMIZE, REORG, FSCK, VACUUM or RESTORE.
