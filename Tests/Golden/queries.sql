-- SPDX-License-Identifier: Apache-2.0
-- Queries over tables, versions, changes, files and the catalog.

CREATE TABLE main.gold.people (id BIGINT, name STRING, born DATE, pay DECIMAL(10, 2), tags ARRAY<STRING>, home STRUCT<city: STRING, zip: STRING>, extra MAP<STRING, INT>) TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true');
-- ok
INSERT INTO main.gold.people VALUES (1, 'Ann', DATE '1990-05-01', 12.50, ['a', 'b'], {'city': 'Ulm', 'zip': '89073'}, MAP {'k': 1}), (2, 'Bob', NULL, NULL, [], NULL, NULL);
-- num_affected_rows
-- 2
INSERT INTO main.gold.people (id, name) VALUES (3, 'Čeněk "Č"'), (4, NULL);
-- num_affected_rows
-- 2
SELECT * FROM main.gold.people ORDER BY id;
-- id | name | born | pay | tags | home | extra
-- 1 | Ann | 1990-05-01 | 12.50 | ["a","b"] | {"city":"Ulm","zip":"89073"} | {"k":1}
-- 2 | Bob | NULL | NULL | [] | NULL | NULL
-- 3 | Čeněk "Č" | NULL | NULL | NULL | NULL | NULL
-- 4 | NULL | NULL | NULL | NULL | NULL | NULL
SELECT id, upper(name) AS name FROM main.gold.people WHERE born IS NULL AND name IS NOT NULL ORDER BY id;
-- id | name
-- 2 | BOB
-- 3 | ČENĚK "Č"
SELECT name, home.city, tags[1], extra['k'] FROM main.gold.people WHERE id = 1;
-- name | city | tags[1] | extra['k']
-- Ann | Ulm | a | 1
SELECT count(*) AS n, sum(pay) AS pay, max(born) AS born FROM main.gold.people;
-- n | pay | born
-- 4 | 12.50 | 1990-05-01
SELECT a.id, b.id AS other FROM main.gold.people AS a JOIN main.gold.people AS b ON a.id + 1 = b.id ORDER BY 1;
-- id | other
-- 1 | 2
-- 2 | 3
-- 3 | 4
WITH older AS (SELECT * FROM main.gold.people WHERE id < 3) SELECT o.name, row_number() OVER (ORDER BY o.id DESC) AS place FROM older AS o ORDER BY place;
-- name | place
-- Bob | 1
-- Ann | 2
SELECT id FROM main.gold.people WHERE id > 100;
-- id
SELECT 1 AS one UNION ALL SELECT 2 ORDER BY one;
-- one
-- 1
-- 2
VALUES (1, 'a'), (2, 'b');
-- col0 | col1
-- 1 | a
-- 2 | b
SELECT isnull(NULL) AS a, current_timestamp() > TIMESTAMP '2020-01-01' AS b;
-- a | b
-- true | true
FROM range(3) SELECT range * 2 AS twice;
-- twice
-- 0
-- 2
-- 4
SELECT 1.5 AS d, 'it''s' AS s, NULL AS n, true AS b, TIMESTAMP '2026-01-02 03:04:05' AS t, DATE '2026-01-02' AS day, '\xAA'::BLOB AS bytes, [1, NULL] AS list, {'a': 1} AS pair, 'NaN'::DOUBLE AS nan, 170141183460469231731687303715884105727 AS huge;
-- d | s | n | b | t | day | bytes | list | pair | nan | huge
-- 1.5 | it's | NULL | true | 2026-01-02T03:04:05.000000 | 2026-01-02 | qg== | [1,null] | {"a":1} | NaN | 170141183460469231731687303715884105727
SELECT count(*) FROM main.gold.people VERSION AS OF 1;
-- count_star()
-- 2
SELECT count(*) FROM main.gold.people VERSION AS OF 99;
-- error: NOT_FOUND: the table has no version 99; its latest is 2
SELECT count(*) FROM main.gold.people TIMESTAMP AS OF '2020-01-01';
-- error: NOT_FOUND: the table has no version as old as that
SELECT id, _change_type, _commit_version FROM table_changes('main.gold.people', 2) ORDER BY id;
-- id | _change_type | _commit_version
-- 3 | insert | 2
-- 4 | insert | 2
SELECT id FROM table_changes('main.gold.people', 7);
-- error: NOT_FOUND: table 'main.gold.people' has no versions 7 to 2. Its latest version is 2.
SELECT * FROM read_files('/Volumes/main/gold/raw/people.csv') ORDER BY id;
-- id | name | _rescued_data
-- 1 | Ann | NULL
-- 2 | Bob | NULL
SELECT id, _metadata.file_name FROM read_files('/Volumes/main/gold/raw/people.csv', format => 'csv', schema => 'id BIGINT') ORDER BY id;
-- id | file_name
-- 1 | people.csv
-- 2 | people.csv
SELECT id, _rescued_data FROM read_files('/Volumes/main/gold/raw/people.ndjson', schema => 'id BIGINT', rescuedDataColumn => '_rescued_data') ORDER BY id;
-- id | _rescued_data
-- 1 | {"name":"Ann","_file_path":"/Volumes/main/gold/raw/people.ndjson"}
-- NULL | {"id":"x","_file_path":"/Volumes/main/gold/raw/people.ndjson"}
SELECT * FROM read_files('/Volumes/main/gold/raw/missing.csv');
-- error: NOT_FOUND: there is no file or folder '/Volumes/main/gold/raw/missing.csv'
SELECT * FROM read_files('/etc/passwd');
-- error: BAD_REQUEST: the source would be outside of the folders that are allowed for external data. None is allowed.
SELECT nope FROM main.gold.people;
-- error: BAD_REQUEST: Binder Error: Referenced column "nope" not found in FROM clause!\nCandidate bindings: "home", "name", "born"
SELECT * FROM main.gold.nobody;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
SELECT * FROM main.nowhere.people;
-- error: NOT_FOUND: table 'main.nowhere.people' does not exist
SELECT * FROM people;
-- error: NOT_FOUND: table 'main.default.people' does not exist
SELEC 1;
-- error: BAD_REQUEST: no statement begins with 'SELEC 1'. Statements begin with SELECT, WITH, VALUES, TABLE, PIVOT, UNPIVOT, SUMMARIZE, EXPLAIN, INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY INTO, CREATE, ALTER, DROP, UNDROP, COMMENT ON, USE, SHOW, DESCRIBE, OPTIMIZE, REORG, FSCK, VACUUM or RESTORE.
SELECT;
-- error: BAD_REQUEST: SELECT clause without selection list
SELECT 1 +;
-- error: BAD_REQUEST: syntax error at end of input
SELECT 'open;
-- error: BAD_REQUEST: a quote in the SQL text is not closed
SELECT sum(name) FROM main.gold.people;
-- error: BAD_REQUEST: Binder Error: No function matches the given name and argument types 'sum(VARCHAR)'. You might need to add explicit type casts.\n	Candidate functions:\n	sum(DECIMAL) -> DECIMAL\n	sum(BOOLEAN) -> HUGEINT\n	sum(SMALLINT) -> HUGEINT\n	sum(INTEGER) -> HUGEINT\n	sum(BIGINT) -> HUGEINT\n	sum(HUGEINT) -> HUGEINT\n	sum(DOUBLE) -> DOUBLE\n	sum(BIGNUM) -> BIGNUM\n
SELECT id, count(*) FROM main.gold.people;
-- error: BAD_REQUEST: Binder Error: column "id" must appear in the GROUP BY clause or must be part of an aggregate function.\nEither add it to the GROUP BY list, or use "ANY_VALUE(id)" if the exact value of "id" is not important.
SELECT CAST('x' AS INT);
-- error: BAD_REQUEST: Conversion Error: Could not convert string 'x' to INT32
SELECT * FROM read_csv('/etc/passwd');
-- error: BAD_REQUEST: the table function 'read_csv' is not allowed. Read tables of the catalog.
SELECT getenv('HOME');
-- error: BAD_REQUEST: the function 'getenv' is not allowed. Statements do not see the engine's own state.
SELECT current_setting('memory_limit');
-- error: BAD_REQUEST: the function 'current_setting' is not allowed. Statements do not see the engine's own state.
SELECT * FROM duckdb_settings();
-- error: BAD_REQUEST: the table function 'duckdb_settings' is not allowed. Read tables of the catalog.
COPY (SELECT 1) TO '/tmp/x.csv';
-- error: BAD_REQUEST: no statement begins with 'COPY ('. Statements begin with SELECT, WITH, VALUES, TABLE, PIVOT, UNPIVOT, SUMMARIZE, EXPLAIN, INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY INTO, CREATE, ALTER, DROP, UNDROP, COMMENT ON, USE, SHOW, DESCRIBE, OPTIMIZE, REORG, FSCK, VACUUM or RESTORE.
ATTACH '/tmp/x.db' AS x;
-- error: BAD_REQUEST: no statement begins with 'ATTACH /tmp/x.db'. Statements begin with SELECT, WITH, VALUES, TABLE, PIVOT, UNPIVOT, SUMMARIZE, EXPLAIN, INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY INTO, CREATE, ALTER, DROP, UNDROP, COMMENT ON, USE, SHOW, DESCRIBE, OPTIMIZE, REORG, FSCK, VACUUM or RESTORE.
SET memory_limit = '1GB';
-- error: BAD_REQUEST: no statement begins with 'SET memory_limit'. Statements begin with SELECT, WITH, VALUES, TABLE, PIVOT, UNPIVOT, SUMMARIZE, EXPLAIN, INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY INTO, CREATE, ALTER, DROP, UNDROP, COMMENT ON, USE, SHOW, DESCRIBE, OPTIMIZE, REORG, FSCK, VACUUM or RESTORE.
PRAGMA database_list;
-- error: BAD_REQUEST: no statement begins with 'PRAGMA database_list'. Statements begin with SELECT, WITH, VALUES, TABLE, PIVOT, UNPIVOT, SUMMARIZE, EXPLAIN, INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY INTO, CREATE, ALTER, DROP, UNDROP, COMMENT ON, USE, SHOW, DESCRIBE, OPTIMIZE, REORG, FSCK, VACUUM or RESTORE.
INSTALL httpfs;
-- error: BAD_REQUEST: no statement begins with 'INSTALL httpfs'. Statements begin with SELECT, WITH, VALUES, TABLE, PIVOT, UNPIVOT, SUMMARIZE, EXPLAIN, INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY INTO, CREATE, ALTER, DROP, UNDROP, COMMENT ON, USE, SHOW, DESCRIBE, OPTIMIZE, REORG, FSCK, VACUUM or RESTORE.
EXPLAIN SELECT name FROM main.gold.people WHERE id = 1;
-- explain_key | explain_value
-- tables | main.gold.people: version 2, 1 file read (* bytes, 2 rows), 1 file (* bytes) skipped by partition values and statistics
-- physical_plan | *Projections: name*Filters: id=1*
EXPLAIN SELECT nope FROM main.gold.people;
-- error: BAD_REQUEST: Binder Error: Referenced column "nope" not found in FROM clause!\nCandidate bindings: "home", "name", "born"
USE main.gold; SELECT current_schema() AS here, count(*) AS n FROM people;
-- here | n
-- gold | 4
USE main.nowhere; SELECT 1;
-- error: NOT_FOUND: statement 1 of 2 (line 1, column 1): schema 'main.nowhere' does not exist
USE SCHEMA nowhere;
-- error: NOT_FOUND: schema 'main.nowhere' does not exist
CREATE TEMPORARY VIEW few AS SELECT id FROM main.gold.people WHERE id < 3; SELECT count(*) AS n FROM few;
-- n
-- 2
SELECT count(*) AS n FROM few;
-- error: NOT_FOUND: table 'main.default.few' does not exist
SELECT table_name, table_type FROM main.information_schema.tables WHERE table_schema = 'gold' ORDER BY 1;
-- table_name | table_type
-- people | MANAGED
SELECT column_name, data_type, is_nullable FROM main.information_schema.columns WHERE table_name = 'people' AND table_schema = 'gold' ORDER BY ordinal_position;
-- column_name | data_type | is_nullable
-- id | BIGINT | YES
-- name | STRING | YES
-- born | DATE | YES
-- pay | DECIMAL | YES
-- tags | ARRAY | YES
-- home | STRUCT | YES
-- extra | MAP | YES
SELECT * FROM main.information_schema.nothing;
-- error: NOT_FOUND: table 'main.information_schema.nothing' does not exist
