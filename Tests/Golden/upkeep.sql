-- SPDX-License-Identifier: Apache-2.0
-- Upkeep of tables and versions.

CREATE TABLE main.gold.visits (day DATE, id BIGINT) PARTITIONED BY (day) TBLPROPERTIES ('delta.enableDeletionVectors' = 'true');
-- ok
INSERT INTO main.gold.visits SELECT DATE '2026-01-01', range FROM range(10);
-- num_affected_rows
-- 10
INSERT INTO main.gold.visits SELECT DATE '2026-01-01', range FROM range(10, 20);
-- num_affected_rows
-- 10
DELETE FROM main.gold.visits WHERE id = 3;
-- num_affected_rows
-- 1
OPTIMIZE main.gold.visits;
-- path | numFilesAdded | numFilesRemoved | sizeOfFilesAdded | sizeOfFilesRemoved | numBatches | numFiles
-- * | 1 | 2 | * | * | 1 | 2
OPTIMIZE main.gold.visits WHERE id = 1;
-- error: BAD_REQUEST: the condition on partitions: Binder Error: Referenced column "id" not found in FROM clause!\nCandidate bindings: "day"
OPTIMIZE main.gold.visits ZORDER BY (id);
-- path | numFilesAdded | numFilesRemoved | sizeOfFilesAdded | sizeOfFilesRemoved | numBatches | numFiles
-- * | 0 | 0 | 0 | 0 | 0 | 1
OPTIMIZE main.gold.visits ZORDER BY (nothing);
-- error: NOT_FOUND: the table has no column 'nothing'. It has: day, id.
OPTIMIZE main.gold.nobody;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
DELETE FROM main.gold.visits WHERE id = 4;
-- num_affected_rows
-- 1
REORG TABLE main.gold.visits APPLY (PURGE);
-- path | numFilesAdded | numFilesRemoved | sizeOfFilesAdded | sizeOfFilesRemoved | numBatches | numFiles
-- * | 1 | 1 | * | * | 1 | 1
REORG TABLE main.gold.nobody APPLY (PURGE);
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
SELECT count(*) AS n, min(id) AS low, max(id) AS high FROM main.gold.visits;
-- n | low | high
-- 18 | 0 | 19
VACUUM main.gold.visits DRY RUN;
-- path
VACUUM main.gold.visits;
-- path | numFilesDeleted | sizeOfFilesDeleted
-- * | 0 | 0
VACUUM main.gold.visits RETAIN 0 HOURS;
-- error: BAD_REQUEST: RETAIN 0 HOURS is less than the 168 hours that the table keeps removed files. Readers of older versions and statements at work could lose files. If there are none, first ALTER TABLE .. SET TBLPROPERTIES ('delta.deletedFileRetentionDuration' = 'interval 0 hours').
VACUUM main.gold.nobody;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
FSCK REPAIR TABLE main.gold.visits DRY RUN;
-- dataFilePath | dataFileMissing | deletionVectorPath | deletionVectorFileMissing
FSCK REPAIR TABLE main.gold.nobody;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
RESTORE TABLE main.gold.visits TO VERSION AS OF 1;
-- table_size_after_restore | num_of_files_after_restore | num_removed_files | num_restored_files | removed_files_size | restored_files_size
-- * | 1 | 1 | 1 | * | *
SELECT count(*) AS n FROM main.gold.visits;
-- n
-- 10
RESTORE TABLE main.gold.visits TO VERSION AS OF 99;
-- error: NOT_FOUND: the table has no version 99; its latest is 7
RESTORE TABLE main.gold.nobody TO VERSION AS OF 1;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
DESCRIBE HISTORY main.gold.visits LIMIT 2;
-- version | timestamp | userName | operation | operationParameters | readVersion | isolationLevel | isBlindAppend | operationMetrics | userMetadata | engineInfo
-- 7 | * | admin | RESTORE | {"version":1} | 6 | WriteSerializable | false | {"numOfFilesAfterRestore":"1","numRemovedFiles":"1","numRestoredFiles":"1","tableSizeAfterRestore":"*"} | NULL | platform/0.1.0
-- 6 | * | admin | OPTIMIZE | {} | 5 | SnapshotIsolation | false | {"numAddedBytes":"*","numAddedFiles":"1","numRemovedBytes":"*","numRemovedFiles":"1"} | NULL | platform/0.1.0
