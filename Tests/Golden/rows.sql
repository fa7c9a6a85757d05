-- SPDX-License-Identifier: Apache-2.0
-- Statements that change rows.

CREATE TABLE main.gold.stock (id BIGINT NOT NULL, item STRING, n INT, day DATE, CONSTRAINT some CHECK (n >= 0)) PARTITIONED BY (day);
-- ok
INSERT INTO main.gold.stock VALUES (1, 'nail', 10, DATE '2026-01-01'), (2, 'bolt', 20, DATE '2026-01-01'), (3, 'nut', 30, DATE '2026-01-02');
-- num_affected_rows
-- 3
INSERT INTO main.gold.stock (n, id) SELECT 5, 4;
-- num_affected_rows
-- 1
INSERT INTO main.gold.stock BY NAME SELECT 5 AS id, 'gear' AS item;
-- error: BAD_REQUEST: a row breaks the CHECK constraint 'some' (n >= 0) of main.gold.stock: {"n":null}. Nothing was written. Correct the row, or change the rule.
SELECT * FROM main.gold.stock ORDER BY id;
-- id | item | n | day
-- 1 | nail | 10 | 2026-01-01
-- 2 | bolt | 20 | 2026-01-01
-- 3 | nut | 30 | 2026-01-02
-- 4 | NULL | 5 | NULL
INSERT INTO main.gold.stock VALUES (1, 'nail');
-- error: BAD_REQUEST: the query gives 2 columns, the table takes 4 different ones. Name the columns: INSERT INTO t (a, b) .., or INSERT INTO t BY NAME ..
INSERT INTO main.gold.stock (id, nothing) VALUES (1, 2);
-- error: BAD_REQUEST: the table has no column 'nothing'. It has: id, item, n, day.
INSERT INTO main.gold.stock (item) VALUES ('no id');
-- error: BAD_REQUEST: a row breaks the NOT NULL column 'id' of main.gold.stock: {"id":null}. Nothing was written. Correct the row, or change the rule.
INSERT INTO main.gold.stock (id, n) VALUES (9, -1);
-- error: BAD_REQUEST: a row breaks the CHECK constraint 'some' (n >= 0) of main.gold.stock: {"n":-1}. Nothing was written. Correct the row, or change the rule.
INSERT INTO main.gold.stock (id, n) VALUES (9, 'many');
-- error: BAD_REQUEST: Conversion Error: Could not convert string 'many' to INT32 when casting from source column c1
INSERT INTO main.gold.nobody VALUES (1);
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
INSERT INTO main.gold.stock REPLACE WHERE day = DATE '2026-01-02' VALUES (6, 'cog', 60, DATE '2026-01-02');
-- num_affected_rows
-- 2
INSERT INTO main.gold.stock REPLACE WHERE day = DATE '2026-01-02' VALUES (7, 'cog', 60, DATE '2026-01-03');
-- error: BAD_REQUEST: a row breaks the condition of REPLACE WHERE (day = DATE '2026-01-02') of main.gold.stock: {"day":"2026-01-03"}. Nothing was written. Correct the row, or change the rule.
UPDATE main.gold.stock SET n = n + 1, item = upper(item) WHERE id <= 2;
-- num_affected_rows
-- 2
UPDATE main.gold.stock SET n = -n WHERE id = 1;
-- error: BAD_REQUEST: a row breaks the CHECK constraint 'some' (n >= 0) of main.gold.stock: {"n":-11}. Nothing was written. Correct the row, or change the rule.
UPDATE main.gold.stock SET nothing = 1;
-- error: BAD_REQUEST: the table has no column 'nothing'. It has: id, item, n, day.
UPDATE main.gold.nobody SET n = 1;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
DELETE FROM main.gold.stock WHERE item IS NULL;
-- num_affected_rows
-- 1
DELETE FROM main.gold.stock WHERE nothing = 1;
-- error: BAD_REQUEST: Binder Error: Referenced column "nothing" not found in FROM clause!\nCandidate bindings: "n"
DELETE FROM main.gold.nobody;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
SELECT id, item, n FROM main.gold.stock ORDER BY id;
-- id | item | n
-- 1 | NAIL | 11
-- 2 | BOLT | 21
-- 6 | cog | 60
MERGE INTO main.gold.stock AS t USING (VALUES (1, 'nail', 0), (2, 'bolt', 99), (8, 'peg', 80)) AS s(id, item, n) ON t.id = s.id
WHEN MATCHED AND s.n = 0 THEN DELETE
WHEN MATCHED THEN UPDATE SET n = s.n
WHEN NOT MATCHED THEN INSERT (id, item, n, day) VALUES (s.id, s.item, s.n, DATE '2026-01-05')
WHEN NOT MATCHED BY SOURCE AND t.id = 5 THEN UPDATE SET item = 'left';
-- num_affected_rows
-- 3
SELECT id, item, n, day FROM main.gold.stock ORDER BY id;
-- id | item | n | day
-- 2 | BOLT | 99 | 2026-01-01
-- 6 | cog | 60 | 2026-01-02
-- 8 | peg | 80 | 2026-01-05
DESCRIBE HISTORY main.gold.stock LIMIT 3;
-- version | timestamp | userName | operation | operationParameters | readVersion | isolationLevel | isBlindAppend | operationMetrics | userMetadata | engineInfo
-- 6 | * | admin | MERGE | {"matchedPredicates":"[{\\"actionType\\":\\"delete\\",\\"predicate\\":\\"s.n = 0\\"},{\\"actionType\\":\\"update\\"}]","notMatchedBySourcePredicates":"[{\\"actionType\\":\\"update\\",\\"predicate\\":\\"t.id = 5\\"}]","notMatchedPredicates":"[{\\"actionType\\":\\"insert\\"}]","predicate":"t.id = s.id"} | 5 | WriteSerializable | false | {"numOutputRows":"2","numSourceRows":"3","numTargetBytesAdded":"*","numTargetBytesRemoved":"*","numTargetChangeFilesAdded":"0","numTargetDeletionVectorsAdded":"0","numTargetDeletionVectorsRemoved":"0","numTargetDeletionVectorsUpdated":"0","numTargetFilesAdded":"2","numTargetFilesRemoved":"1","numTargetRowsCopied":"0","numTargetRowsDeleted":"1","numTargetRowsInserted":"1","numTargetRowsUpdated":"1"} | NULL | platform/0.1.0
-- 5 | * | admin | DELETE | {"predicate":"item IS NULL"} | 4 | WriteSerializable | false | {"numAddedBytes":"0","numAddedChangeFiles":"0","numAddedFiles":"0","numCopiedRows":"0","numDeletedRows":"1","numDeletionVectorsAdded":"0","numDeletionVectorsRemoved":"0","numDeletionVectorsUpdated":"0","numRemovedBytes":"*","numRemovedFiles":"1"} | NULL | platform/0.1.0
-- 4 | * | admin | UPDATE | {"predicate":"id <= 2"} | 3 | WriteSerializable | false | {"numAddedBytes":"*","numAddedChangeFiles":"0","numAddedFiles":"1","numCopiedRows":"0","numDeletionVectorsAdded":"0","numDeletionVectorsRemoved":"0","numDeletionVectorsUpdated":"0","numRemovedBytes":"*","numRemovedFiles":"1","numUpdatedRows":"2"} | NULL | platform/0.1.0
MERGE INTO main.gold.stock AS t USING (VALUES (2, 1), (2, 2)) AS s(id, n) ON t.id = s.id WHEN MATCHED THEN UPDATE SET n = s.n;
-- error: BAD_REQUEST: a row of the target matches several rows of the source, which would change it in different ways. Make the source unique in the columns of ON.
MERGE INTO main.gold.stock AS t USING main.gold.nobody AS s ON t.id = s.id WHEN MATCHED THEN DELETE;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
INSERT OVERWRITE main.gold.stock VALUES (1, 'nail', 1, DATE '2026-01-01');
-- num_affected_rows
-- 1
SELECT id, item, n, day FROM main.gold.stock;
-- id | item | n | day
-- 1 | nail | 1 | 2026-01-01
INSERT OVERWRITE main.gold.stock VALUES (1);
-- error: BAD_REQUEST: the query gives 1 columns, the table takes 4 different ones. Name the columns: INSERT INTO t (a, b) .., or INSERT INTO t BY NAME ..
CREATE TABLE main.gold.loaded (id BIGINT, name STRING);
-- ok
COPY INTO main.gold.loaded FROM '/Volumes/main/gold/raw/people.csv' FILEFORMAT = CSV FORMAT_OPTIONS ('header' = 'true');
-- num_affected_rows | num_inserted_rows | num_skipped_corrupt_files | num_quarantined
-- 2 | 2 | 0 | 0
COPY INTO main.gold.loaded FROM '/Volumes/main/gold/raw/people.csv' FILEFORMAT = CSV FORMAT_OPTIONS ('header' = 'true');
-- num_affected_rows | num_inserted_rows | num_skipped_corrupt_files | num_quarantined
-- 0 | 0 | 0 | 0
SELECT * FROM main.gold.loaded ORDER BY id;
-- id | name
-- 1 | Ann
-- 2 | Bob
COPY INTO main.gold.loaded FROM '/Volumes/main/gold/raw/people.csv' FILEFORMAT = XML;
-- error: BAD_REQUEST: the file format 'XML' is not known. Formats: csv, tsv, json, parquet, avro, text, binaryFile.
COPY INTO main.gold.loaded FROM '/etc/passwd' FILEFORMAT = CSV;
-- error: BAD_REQUEST: the source would be outside of the folders that are allowed for external data. None is allowed.
COPY INTO main.gold.nobody FROM '/Volumes/main/gold/raw/people.csv' FILEFORMAT = CSV;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
TRUNCATE TABLE main.gold.loaded;
-- num_affected_rows
-- 2
SELECT count(*) AS n FROM main.gold.loaded;
-- n
-- 0
TRUNCATE TABLE main.gold.nobody;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
INSERT WITH SCHEMA EVOLUTION INTO main.gold.loaded SELECT 1 AS id, 'a' AS name, 2.5 AS score;
-- num_affected_rows
-- 1
SELECT * FROM main.gold.loaded;
-- id | name | score
-- 1 | a | 2.5
CREATE TABLE main.gold.parts (id BIGINT, place STRUCT<shelf: INT, room: STRUCT<floor: INT, name: STRING>>, sizes ARRAY<STRUCT<cm: INT>>);
-- ok
INSERT INTO main.gold.parts VALUES (1, {'shelf': 3, 'room': {'floor': 0, 'name': 'a'}}, NULL), (2, NULL, NULL);
-- num_affected_rows
-- 2
UPDATE main.gold.parts SET place.shelf = gold.parts.place.shelf + 1, main.gold.parts.place.room.name = 'b' WHERE main.gold.parts.id = 1;
-- num_affected_rows
-- 1
MERGE INTO main.gold.parts USING main.gold.stock ON gold.parts.id = main.gold.stock.id + 1 WHEN MATCHED THEN UPDATE SET place.room.floor = main.gold.stock.n;
-- num_affected_rows
-- 1
SELECT gold.parts.*, main.gold.parts.place.room.floor AS floor FROM main.gold.parts ORDER BY main.gold.parts.id;
-- id | place | sizes | floor
-- 1 | {"shelf":4,"room":{"floor":0,"name":"b"}} | NULL | 0
-- 2 | {"shelf":null,"room":{"floor":1,"name":null}} | NULL | 1
SELECT parts.id, gold.stock.item FROM main.gold.parts JOIN gold.stock ON gold.parts.id = main.gold.stock.id WHERE main.gold.stock.n = 1;
-- id | item
-- 1 | nail
SELECT other.parts.id FROM main.gold.parts;
-- error: *
SELECT other.parts.* FROM main.gold.parts;
-- error: BAD_REQUEST: 'other.parts.*': no table 'other.parts' is in the FROM clause. A table with an alias is named by its alias.
UPDATE main.gold.parts SET place.wall = 1;
-- error: BAD_REQUEST: the struct 'place' has no field 'wall'. It has: shelf, room.
UPDATE main.gold.parts SET sizes.cm = 1;
-- error: BAD_REQUEST: 'sizes' is no struct and has no field 'cm'. Within a list or map nothing can be set alone: give 'sizes' as a whole.
UPDATE main.gold.parts SET place.shelf = 1, place = NULL;
-- error: BAD_REQUEST: 'place.shelf' and 'place' are set together, and one is part of the other. Set each place once.
DELETE FROM main.gold.parts WHERE main.gold.parts.id IN (SELECT gold.stock.id FROM gold.stock WHERE gold.stock.id = gold.parts.id);
-- num_affected_rows
-- 1
SELECT current_schema(), id FROM main.gold.parts;
-- current_schema() | id
-- default | 2
INSERT INTO main.gold.parts (id, place) VALUES (7, {'shelf': 1, 'wall': 2});
-- error: BAD_REQUEST: the struct 'place' of the table has no field 'wall', which would be lost. It has: shelf, room. Leave the field out, or add it: INSERT and MERGE do WITH SCHEMA EVOLUTION, ALTER TABLE .. ADD COLUMN place.wall.
INSERT INTO main.gold.parts (id, place) VALUES (7, {'shelf': 1});
-- num_affected_rows
-- 1
UPDATE main.gold.parts SET sizes = [1], place = {'shelf': 1, 'room': {'door': 1}} WHERE id = 7;
-- error: BAD_REQUEST: the struct 'place.room' of the table has no field 'door', which would be lost. It has: floor, name. Leave the field out, or add it: INSERT and MERGE do WITH SCHEMA EVOLUTION, ALTER TABLE .. ADD COLUMN place.room.door.
INSERT WITH SCHEMA EVOLUTION INTO main.gold.parts BY NAME SELECT 8 AS id, {'wall': 3} AS place;
-- num_affected_rows
-- 1
SELECT id, place FROM main.gold.parts WHERE id > 6 ORDER BY id;
-- id | place
-- 7 | {"shelf":1,"room":null,"wall":null}
-- 8 | {"shelf":null,"room":null,"wall":3}
DELETE FROM main.gold.parts WHERE (SELECT max(id) FROM main.gold.stock);
-- error: BAD_REQUEST: '(SELECT max(id) FROM main.gold.stock)' is BIGINT, not a condition. A condition is true or false: compare the value with another, as in k = 1.
UPDATE main.gold.stock SET day = 'infinity' WHERE id = 1;
-- error: BAD_REQUEST: the partition column 'day' of main.gold.stock would hold 'infinity', which other readers of its files do not know. Give NULL or a day far away, such as DATE '9999-12-31'. Rows that hold it already: UPDATE .. SET .. WHERE NOT isfinite(..).
CREATE TABLE main.gold.endless AS SELECT TIMESTAMP '-infinity' AS t;
-- error: BAD_REQUEST: the column 't' of main.gold.endless would hold '-infinity', which other readers of its files do not know. Give NULL or a day far away, such as DATE '9999-12-31'. Rows that hold it already: UPDATE .. SET .. WHERE NOT isfinite(..).
CREATE TABLE main.gold.blobs (b BINARY DEFAULT X'00ff', n INT) TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true');
-- ok
INSERT INTO main.gold.blobs VALUES (X'6162', 1), (DEFAULT, 2);
-- num_affected_rows
-- 2
SELECT hex(b) AS b, n FROM main.gold.blobs WHERE b <> X'6162';
-- b | n
-- 00FF | 2
ALTER TABLE main.gold.blobs ALTER COLUMN n TYPE BIGINT;
-- note
-- the table property delta.enableTypeWidening was set to true
INSERT INTO main.gold.blobs VALUES (NULL, 5000000000);
-- num_affected_rows
-- 1
RESTORE TABLE main.gold.blobs TO VERSION AS OF 1;
-- table_size_after_restore | num_of_files_after_restore | num_removed_files | num_restored_files | removed_files_size | restored_files_size
-- * | 1 | 1 | 0 | * | 0
SELECT n, _change_type, _commit_version FROM table_changes('main.gold.blobs', 1) ORDER BY 3, 1;
-- n | _change_type | _commit_version
-- 1 | insert | 1
-- 2 | insert | 1
-- 5000000000 | insert | 3
-- 5000000000 | delete | 4
SELECT count(*) AS n FROM main.gold.blobs@v3;
-- n
-- 3
INSERT INTO main.gold.blobs TABLE main.gold.blobs;
-- num_affected_rows
-- 2
SELECT row(1, 'x') AS r;
-- r
-- (1, x)
CREATE TABLE main.gold.rows AS SELECT row(1, 'x') AS r;
-- error: BAD_REQUEST: the column 'r' is a struct whose fields have no names. Name them: {'a': 1, 'b': 2}, or struct_pack(a := 1, b := 2).
SELECT 0x1f;
-- error: BAD_REQUEST: '0x1f' is no number. Numbers are decimal: write 31; bytes are written as X'1f'.
PIVOT main.gold.stock ON item IN ('nail', 'bolt') USING sum(n) GROUP BY day ORDER BY day NULLS LAST;
-- day | nail | bolt
-- 2026-01-01 | 1 | NULL
SUMMARIZE SELECT id FROM main.gold.parts WHERE id = 2;
-- column_name | column_type | min | max | approx_unique | avg | std | q25 | q50 | q75 | count | null_percentage
-- id | BIGINT | 2 | 2 | 1 | 2.0 | NULL | 2 | 2 | 2 | 1 | 0.00
SELECT array_union([1], [2]);
-- error: NOT_FOUND: function 'main.default.array_union' does not exist. Write list_distinct(list_concat(a, b)).
SELECT main.gold.cuont(1);
-- error: NOT_FOUND: function 'main.gold.cuont' does not exist. Did you mean 'count'? SHOW FUNCTIONS lists those of a schema, docs/sql.md those that Spark has, too.
INSERT INTO main.gold.stock (id, item, n) VALUES (40, '007', 1), (41, 7, '2');
-- num_affected_rows
-- 2
SELECT item, n FROM main.gold.stock WHERE id >= 40 ORDER BY id;
-- item | n
-- 007 | 1
-- 7 | 2
SELECT * FROM main.gold.stok;
-- error: NOT_FOUND: table 'main.gold.stok' does not exist. Did you mean 'main.gold.stock'?
