-- SPDX-License-Identifier: Apache-2.0
-- Transactions over several tables.

CREATE TABLE main.gold.debit (id BIGINT NOT NULL, cents BIGINT, CONSTRAINT covered CHECK (cents >= 0)) PARTITIONED BY (id);
-- ok
CREATE TABLE main.gold.credit (id BIGINT, cents BIGINT) TBLPROPERTIES ('delta.enableDeletionVectors' = 'true');
-- ok
INSERT INTO main.gold.debit VALUES (1, 100), (2, 200);
-- num_affected_rows
-- 2
BEGIN ATOMIC UPDATE main.gold.debit SET cents = cents - 30 WHERE id = 1; INSERT INTO main.gold.credit SELECT id, 30 FROM main.gold.debit WHERE id = 1; SELECT (SELECT sum(cents) FROM main.gold.debit) AS debit, (SELECT sum(cents) FROM main.gold.credit) AS credit; END;
-- debit | credit
-- 270 | 30
BEGIN ATOMIC INSERT INTO main.gold.credit VALUES (7, 7), (8, 8); UPDATE main.gold.credit SET cents = 70 WHERE id = 7; DELETE FROM main.gold.credit WHERE id = 8; MERGE INTO main.gold.debit AS d USING main.gold.credit AS c ON d.id = c.id WHEN MATCHED THEN UPDATE SET cents = d.cents + c.cents WHEN NOT MATCHED THEN INSERT (id, cents) VALUES (c.id, c.cents); END;
-- num_affected_rows
-- 2
SELECT 'debit' AS of, * FROM main.gold.debit UNION ALL SELECT 'credit', * FROM main.gold.credit ORDER BY ALL;
-- of | id | cents
-- credit | 1 | 30
-- credit | 7 | 70
-- debit | 1 | 100
-- debit | 2 | 200
-- debit | 7 | 70
BEGIN ATOMIC INSERT OVERWRITE main.gold.credit VALUES (1, 1); UPDATE main.gold.debit SET cents = cents - 1000; END;
-- error: BAD_REQUEST: statement 2 of 2 (line 1, column 63): a row breaks the CHECK constraint 'covered' (cents >= 0) of main.gold.debit: {"cents":-900}. Nothing was written. Correct the row, or change the rule.
BEGIN ATOMIC TRUNCATE TABLE main.gold.credit; INSERT INTO main.gold.nobody VALUES (1); END;
-- error: NOT_FOUND: statement 2 of 2 (line 1, column 47): table 'main.gold.nobody' does not exist
SELECT count(*) AS n FROM main.gold.credit;
-- n
-- 2
BEGIN TRANSACTION; TRUNCATE TABLE main.gold.credit; DELETE FROM main.gold.debit WHERE id > 1; COMMIT;
-- num_affected_rows
-- 2
SELECT (SELECT count(*) FROM main.gold.debit) AS debit, (SELECT count(*) FROM main.gold.credit) AS credit;
-- debit | credit
-- 1 | 0
BEGIN ATOMIC SELECT * FROM main.gold.debit; END;
-- id | cents
-- 1 | 100
BEGIN ATOMIC CREATE TABLE main.gold.new (id BIGINT); END;
-- error: BAD_REQUEST: line 1: CREATE TABLE cannot be part of a transaction. BEGIN ATOMIC .. END holds SELECT, INSERT, UPDATE, DELETE, MERGE and TRUNCATE TABLE.
BEGIN ATOMIC INSERT INTO main.gold.debit VALUES (5, 5);
-- error: BAD_REQUEST: the transaction that begins in line 1 has no end. Write END behind its last statement's semicolon.
BEGIN INSERT INTO main.gold.debit VALUES (5, 5); END;
-- error: BAD_REQUEST: a block of statements begins with BEGIN ATOMIC. Write BEGIN ATOMIC <statement>; <statement>; END
COMMIT;
-- error: BAD_REQUEST: COMMIT ends a transaction, and none has begun. Begin it in the same text: BEGIN ATOMIC .. END
BEGIN TRANSACTION; DELETE FROM main.gold.debit; ROLLBACK;
-- error: BAD_REQUEST: ROLLBACK has nothing to take back: a transaction is one text, BEGIN ATOMIC .. END, and one that fails changes nothing. Leave it out.
CREATE TABLE main.gold.fed (id BIGINT, n INT) TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true');
-- ok
BEGIN ATOMIC INSERT INTO main.gold.fed VALUES (1, 1); INSERT INTO main.gold.fed VALUES (2, 2); END;
-- num_affected_rows
-- 1
BEGIN ATOMIC INSERT INTO main.gold.fed VALUES (3, 3); UPDATE main.gold.fed SET n = 0; END;
-- error: BAD_REQUEST: statement 2 of 2 (line 1, column 55): a table with a change data feed takes one statement of a transaction, or several that only insert. Say it in one statement, a MERGE for instance, or commit in between.
BEGIN ATOMIC UPDATE main.gold.fed SET n = 5 WHERE id = 1; UPDATE main.gold.debit SET cents = 5; END;
-- num_affected_rows
-- 1
SELECT id, n, _change_type, _commit_version FROM table_changes('main.gold.fed', 1) ORDER BY 4, 3, 1;
-- id | n | _change_type | _commit_version
-- 1 | 1 | insert | 1
-- 2 | 2 | insert | 1
-- 1 | 5 | update_postimage | 3
-- 1 | 1 | update_preimage | 3
DESCRIBE HISTORY main.gold.debit LIMIT 1;
-- version | timestamp | userName | operation | operationParameters | readVersion | isolationLevel | isBlindAppend | operationMetrics | userMetadata | engineInfo
-- 6 | * | admin | UPDATE | {"tables":["main.gold.fed","main.gold.debit"]} | 5 | WriteSerializable | false | {"numAddedBytes":"*","numAddedChangeFiles":"0","numAddedFiles":"1","numCopiedRows":"0","numDeletionVectorsAdded":"0","numDeletionVectorsRemoved":"0","numDeletionVectorsUpdated":"0","numRemovedBytes":"*","numRemovedFiles":"1","numUpdatedRows":"1"} | NULL | platform/0.1.0
INSERT INTO main.gold.debit VALUES (9, 9);
-- num_affected_rows
-- 1
ALTER TABLE main.gold.debit DROP FEATURE `platform.coordinatedCommits`;
-- note
-- versions before 8 still need the feature; they can be read for as long as delta.logRetentionDuration keeps them
INSERT INTO main.gold.debit VALUES (10, 10);
-- num_affected_rows
-- 1
