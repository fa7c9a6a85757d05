-- SPDX-License-Identifier: Apache-2.0
-- Definitions of tables and what is told of them.

CREATE TABLE main.gold.orders (id BIGINT NOT NULL COMMENT 'number', day DATE, price DECIMAL(10, 2) DEFAULT 1.00, gross DECIMAL(12, 2) GENERATED ALWAYS AS (CAST(price * 2 AS DECIMAL(12, 2))), CONSTRAINT positive CHECK (price > 0)) PARTITIONED BY (day) COMMENT 'what was bought' TBLPROPERTIES ('team' = 'eu');
-- ok
CREATE TABLE main.gold.orders (id INT);
-- error: ALREADY_EXISTS: table 'main.gold.orders' exists already. Use CREATE OR REPLACE TABLE, or CREATE TABLE IF NOT EXISTS.
CREATE TABLE IF NOT EXISTS main.gold.orders (id INT);
-- ok
CREATE TABLE main.gold.bad (id NUMBER);
-- error: BAD_REQUEST: 'NUMBER' is not a column type
CREATE TABLE main.gold.bad (id INT, ID INT);
-- error: BAD_REQUEST: the column 'ID' is there twice
CREATE TABLE main.gold.bad (id INT) PARTITIONED BY (day);
-- error: BAD_REQUEST: the partition column 'day' is no column of the table
CREATE TABLE main.gold.bad (id INT CHECK (other > 1));
-- error: BAD_REQUEST: the constraint 'other > 1': Binder Error: Referenced column "other" not found in FROM clause!\nCandidate bindings: "id"
CREATE TABLE main.gold.bad (id INT) LOCATION '/etc';
-- error: BAD_REQUEST: table 'main.gold.bad' would be outside of the folders that are allowed for external data. None is allowed.
CREATE TABLE main.nowhere.bad (id INT);
-- error: NOT_FOUND: schema 'main.nowhere' does not exist. CREATE SCHEMA it first.
CREATE TABLE main.gold.numbered (id BIGINT GENERATED ALWAYS AS IDENTITY (START WITH 10 INCREMENT BY 5), note STRING);
-- ok
INSERT INTO main.gold.numbered (note) VALUES ('a'), ('b');
-- num_affected_rows
-- 2
SELECT * FROM main.gold.numbered ORDER BY id;
-- id | note
-- 10 | a
-- 15 | b
INSERT INTO main.gold.numbered VALUES (1, 'c');
-- error: BAD_REQUEST: the identity column 'id' of main.gold.numbered is GENERATED ALWAYS and takes no values. Leave it out, or say DEFAULT.
CREATE TABLE main.gold.months AS SELECT range AS month, range * 10 AS amount FROM range(1, 4);
-- num_affected_rows
-- 3
SELECT * FROM main.gold.months ORDER BY month;
-- month | amount
-- 1 | 10
-- 2 | 20
-- 3 | 30
CREATE TABLE main.gold.months AS SELECT 1 AS a;
-- error: ALREADY_EXISTS: table 'main.gold.months' exists already. Use CREATE OR REPLACE TABLE, or INSERT INTO.
CREATE OR REPLACE TABLE main.gold.months AS SELECT range AS month, range * 100 AS amount FROM range(1, 4);
-- num_affected_rows
-- 3
CREATE TABLE main.gold.twice AS SELECT 1 AS a, 2 AS a;
-- error: BAD_REQUEST: the query gives two columns named 'a'. The columns of a table need different names: AS.
CREATE TABLE main.gold.spaced AS SELECT 1 AS "a b";
-- error: BAD_REQUEST: the column name 'a b' holds ' ', which needs column mapping. Give the table TBLPROPERTIES ('delta.columnMapping.mode' = 'name'), or rename the column.
SELECT * FROM main.gold.spaced;
-- error: NOT_FOUND: table 'main.gold.spaced' does not exist
CREATE TABLE main.gold.spaced AS SELECT 1 AS a;
-- num_affected_rows
-- 1
DROP TABLE main.gold.spaced;
-- ok
CREATE TABLE main.gold.unnamed AS SELECT * FROM main.gold.nobody;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
CREATE TABLE main.gold.like_orders LIKE main.gold.orders;
-- ok
CREATE TABLE main.gold.like_none LIKE main.gold.nobody;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
CREATE TABLE main.gold.months_shallow SHALLOW CLONE main.gold.months;
-- source_table_size | source_num_of_files | num_copied_files | copied_files_size
-- * | 1 | 0 | 0
CREATE TABLE main.gold.months_deep DEEP CLONE main.gold.months VERSION AS OF 0;
-- source_table_size | source_num_of_files | num_copied_files | copied_files_size
-- * | 1 | 1 | *
SELECT sum(a.amount) AS shallow, (SELECT sum(amount) FROM main.gold.months_deep) AS deep FROM main.gold.months_shallow AS a;
-- shallow | deep
-- 600 | 60
ALTER TABLE main.gold.months_shallow SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true');
-- ok
DELETE FROM main.gold.months_shallow WHERE month = 1;
-- num_affected_rows
-- 1
MERGE INTO main.gold.months_shallow AS t USING (SELECT 2 AS month, 7 AS amount UNION ALL SELECT 4, 8) AS s ON t.month = s.month WHEN MATCHED THEN UPDATE SET amount = s.amount WHEN NOT MATCHED THEN INSERT *;
-- num_affected_rows
-- 2
CREATE TABLE main.gold.months_again SHALLOW CLONE main.gold.months_shallow;
-- source_table_size | source_num_of_files | num_copied_files | copied_files_size
-- * | 2 | 0 | 0
CREATE TABLE main.gold.months_own DEEP CLONE main.gold.months_shallow;
-- source_table_size | source_num_of_files | num_copied_files | copied_files_size
-- * | 2 | 3 | *
UPDATE main.gold.months_again SET amount = amount + 1 WHERE month = 3;
-- num_affected_rows
-- 1
OPTIMIZE main.gold.months_shallow;
-- path | numFilesAdded | numFilesRemoved | sizeOfFilesAdded | sizeOfFilesRemoved | numBatches | numFiles
-- * | 1 | 2 | * | * | 1 | 2
SELECT (SELECT sum(amount) FROM main.gold.months) AS source, (SELECT sum(amount) FROM main.gold.months_shallow) AS shallow, (SELECT sum(amount) FROM main.gold.months_own) AS own, (SELECT sum(amount) FROM main.gold.months_again) AS again;
-- source | shallow | own | again
-- 600 | 315 | 315 | 316
CREATE TABLE main.gold.months_none SHALLOW CLONE main.gold.nobody;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist

ALTER TABLE main.gold.orders ADD COLUMNS (buyer STRING COMMENT 'who' AFTER id, note STRING);
-- ok
ALTER TABLE main.gold.orders ADD COLUMN note STRING;
-- error: ALREADY_EXISTS: a column 'note' exists already
ALTER TABLE main.gold.orders RENAME COLUMN note TO remark;
-- note
-- column mapping was switched on (delta.columnMapping.mode = name); readers without that feature cannot read the table any more
ALTER TABLE main.gold.orders RENAME COLUMN nothing TO remark;
-- error: NOT_FOUND: the table has no column 'nothing'. It has: id, buyer, day, price, gross, remark.
ALTER TABLE main.gold.orders DROP COLUMN remark;
-- ok
ALTER TABLE main.gold.orders DROP COLUMN day;
-- error: BAD_REQUEST: the partition column 'day' cannot be dropped
ALTER TABLE main.gold.months ALTER COLUMN month TYPE DECIMAL(20, 0);
-- note
-- the table property delta.enableTypeWidening was set to true
ALTER TABLE main.gold.months ALTER COLUMN amount TYPE INT;
-- error: BAD_REQUEST: the column 'amount' cannot change from bigint to int
ALTER TABLE main.gold.orders ALTER COLUMN buyer COMMENT 'who bought';
-- ok
ALTER TABLE main.gold.orders ALTER COLUMN nobody COMMENT 'x';
-- error: NOT_FOUND: the table has no column 'nobody'. It has: id, buyer, day, price, gross.
ALTER TABLE main.gold.months ALTER COLUMN amount SET NOT NULL;
-- ok
ALTER TABLE main.gold.months ALTER COLUMN nothing SET NOT NULL;
-- error: NOT_FOUND: the table has no column 'nothing'. It has: month, amount.
ALTER TABLE main.gold.months ALTER COLUMN amount DROP NOT NULL;
-- ok
ALTER TABLE main.gold.orders ALTER COLUMN buyer SET DEFAULT 'nobody';
-- ok
ALTER TABLE main.gold.orders ALTER COLUMN buyer SET DEFAULT id;
-- error: BAD_REQUEST: the default of 'buyer': Binder Error: Referenced column "id" not found in FROM clause. It names no columns.
ALTER TABLE main.gold.orders ALTER COLUMN buyer DROP DEFAULT;
-- ok
ALTER TABLE main.gold.orders ALTER COLUMN buyer FIRST;
-- ok
ALTER TABLE main.gold.orders ALTER COLUMN buyer AFTER nothing;
-- error: NOT_FOUND: the table has no column 'nothing'. It has: id, day, price, gross.
ALTER TABLE main.gold.numbered ALTER COLUMN id SYNC IDENTITY;
-- ok
ALTER TABLE main.gold.numbered ALTER COLUMN note SYNC IDENTITY;
-- error: BAD_REQUEST: 'note' is no identity column
ALTER TABLE main.gold.months SET TAGS ('cost' = 'eu', 'team' = 'a');
-- ok
ALTER TABLE main.gold.months ALTER COLUMN amount SET TAGS ('pii' = 'no');
-- ok
ALTER TABLE main.gold.months UNSET TAGS ('team');
-- ok
SELECT table_name, tag_name, tag_value FROM main.information_schema.table_tags WHERE schema_name = 'gold';
-- table_name | tag_name | tag_value
-- months | cost | eu
SELECT column_name, tag_name, tag_value FROM main.information_schema.column_tags WHERE schema_name = 'gold';
-- column_name | tag_name | tag_value
-- amount | pii | no
ALTER TABLE main.gold.months ALTER COLUMN nobody SET TAGS ('pii' = 'no');
-- error: NOT_FOUND: column 'main.gold.months.nobody' does not exist
ALTER TABLE main.gold.months ADD CONSTRAINT low CHECK (amount < 1000);
-- ok
ALTER TABLE main.gold.months ADD CONSTRAINT lower CHECK (amount < 150);
-- error: BAD_REQUEST: 2 rows of table 'main.gold.months' do not satisfy the constraint 'lower': amount < 150. Correct or delete them first.
ALTER TABLE main.gold.months ADD CONSTRAINT months_pk PRIMARY KEY (month);
-- error: BAD_REQUEST: the column 'month' of the primary key may be null. ALTER TABLE .. ALTER COLUMN month SET NOT NULL first.
ALTER TABLE main.gold.months ADD CONSTRAINT other_pk PRIMARY KEY (nothing);
-- error: BAD_REQUEST: the key names the column 'nothing', which the table does not have
ALTER TABLE main.gold.months DROP CONSTRAINT low;
-- ok
ALTER TABLE main.gold.months DROP CONSTRAINT low;
-- error: NOT_FOUND: no constraint 'low'
ALTER TABLE main.gold.months ALTER COLUMN month SET NOT NULL;
-- ok
ALTER TABLE main.gold.months ADD CONSTRAINT months_pk PRIMARY KEY (month);
-- ok
ALTER TABLE main.gold.months DROP PRIMARY KEY;
-- ok
ALTER TABLE main.gold.months DROP PRIMARY KEY;
-- error: NOT_FOUND: table 'main.gold.months' has no primary key
ALTER TABLE main.gold.orders SET TBLPROPERTIES ('delta.appendOnly' = 'false', 'note' = 'x');
-- ok
ALTER TABLE main.gold.orders SET TBLPROPERTIES ('delta.checkpointInterval' = 'often');
-- error: BAD_REQUEST: the table property delta.checkpointInterval cannot be 'often'
ALTER TABLE main.gold.orders UNSET TBLPROPERTIES ('note');
-- ok
ALTER TABLE main.gold.orders UNSET TBLPROPERTIES ('note');
-- error: NOT_FOUND: the table has no property 'note'. UNSET TBLPROPERTIES IF EXISTS leaves it out.
ALTER TABLE main.gold.months CLUSTER BY (month);
-- ok
ALTER TABLE main.gold.orders CLUSTER BY (id);
-- error: BAD_REQUEST: a partitioned table cannot be clustered. CREATE TABLE .. CLUSTER BY (..) AS SELECT copies its rows.
COMMENT ON TABLE main.gold.months IS 'by month';
-- ok
COMMENT ON TABLE main.gold.nobody IS 'x';
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
COMMENT ON COLUMN main.gold.months.amount IS 'in cents';
-- ok
ALTER TABLE main.gold.like_orders RENAME TO main.gold.renamed;
-- ok
ALTER TABLE main.gold.like_orders RENAME TO main.gold.again;
-- error: NOT_FOUND: table 'main.gold.like_orders' does not exist
ALTER TABLE main.gold.renamed SET OWNER TO ann;
-- ok
ALTER TABLE main.gold.nobody SET OWNER TO ann;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
CREATE TABLE main.gold.codes (code VARCHAR(4)) TBLPROPERTIES ('delta.enableDeletionVectors' = 'true');
-- ok
ALTER TABLE main.gold.codes ALTER COLUMN code TYPE VARCHAR(8);
-- ok
ALTER TABLE main.gold.codes ALTER COLUMN code TYPE VARCHAR(2);
-- error: BAD_REQUEST: the column 'code' cannot change from varchar(8) to varchar(2). A length can only grow, to VARCHAR or STRING.
ALTER TABLE main.gold.codes DROP FEATURE deletionVectors;
-- note
-- versions before 2 still need the feature; they can be read for as long as delta.logRetentionDuration keeps them
ALTER TABLE main.gold.codes DROP FEATURE deletionVectors;
-- error: NOT_FOUND: table 'main.gold.codes': the table does not have the feature 'deletionVectors'. It has: appendOnly, invariants.

DESCRIBE TABLE main.gold.orders;
-- col_name | data_type | comment
-- buyer | string | who bought
-- id | bigint | number
-- day | date | NULL
-- price | decimal(10,2) | NULL
-- gross | decimal(12,2) | NULL
-- # Partition Information |  | 
-- # col_name | data_type | comment
-- day | date | NULL
DESCRIBE main.gold.nobody;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
DESCRIBE main.gold.orders price;
-- info_name | info_value
-- col_name | price
-- data_type | decimal(10,2)
-- comment | NULL
SHOW CREATE TABLE main.gold.orders;
-- createtab_stmt
-- CREATE TABLE main.gold.orders (\n  buyer STRING COMMENT 'who bought',\n  id BIGINT NOT NULL COMMENT 'number',\n  day DATE,\n  price DECIMAL(10,2) DEFAULT 1.00,\n  gross DECIMAL(12,2) GENERATED ALWAYS AS (CAST(price * 2 AS DECIMAL(12, 2))),\n  CONSTRAINT positive CHECK (price > 0))\nUSING DELTA\nPARTITIONED BY (day)\nCOMMENT 'what was bought'\nTBLPROPERTIES (\n  'delta.appendOnly' = 'false',\n  'delta.columnMapping.mode' = 'name',\n  'team' = 'eu')
SHOW CREATE TABLE main.gold.nobody;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
SHOW COLUMNS IN main.gold.orders;
-- col_name
-- buyer
-- id
-- day
-- price
-- gross
SHOW COLUMNS IN main.gold.nobody;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
SHOW TBLPROPERTIES main.gold.orders ('team');
-- key | value
-- team | eu
SHOW TBLPROPERTIES main.gold.nobody;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
INSERT INTO main.gold.orders (buyer, id, day, price) VALUES ('Ann', 1, DATE '2026-01-01', 3.00), ('Bob', 2, DATE '2026-01-02', DEFAULT);
-- num_affected_rows
-- 2
SELECT * FROM main.gold.orders ORDER BY id;
-- buyer | id | day | price | gross
-- Ann | 1 | 2026-01-01 | 3.00 | 6.00
-- Bob | 2 | 2026-01-02 | 1.00 | 2.00
SHOW PARTITIONS main.gold.orders;
-- day
-- 2026-01-01
-- 2026-01-02
SHOW PARTITIONS main.gold.months;
-- error: BAD_REQUEST: table 'main.gold.months' is not partitioned
DESCRIBE DETAIL main.gold.orders;
-- format | id | name | description | location | createdAt | lastModified | partitionColumns | clusteringColumns | numFiles | sizeInBytes | properties | minReaderVersion | minWriterVersion | tableFeatures | version | numRows
-- delta | * | main.gold.orders | what was bought | * | ["day"] | [] | 2 | * | {"delta.appendOnly":"false","delta.columnMapping.maxColumnId":"6","delta.columnMapping.mode":"name","delta.constraints.positive":"price > 0","team":"eu"} | 3 | 7 | ["allowColumnDefaults","appendOnly","checkConstraints","columnMapping","generatedColumns","invariants"] | 10 | 2
DESCRIBE DETAIL main.gold.nobody;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
DESCRIBE HISTORY main.gold.months_deep;
-- version | timestamp | userName | operation | operationParameters | readVersion | isolationLevel | isBlindAppend | operationMetrics | userMetadata | engineInfo
-- 0 | * | admin | CLONE | {} | NULL | WriteSerializable | true | {"numAddedBytes":"*","numAddedFiles":"1","numRemovedBytes":"0","numRemovedFiles":"0"} | NULL | platform/0.1.0
DESCRIBE HISTORY main.gold.nobody;
-- error: NOT_FOUND: table 'main.gold.nobody' does not exist
DROP TABLE main.gold.renamed;
-- ok
DROP TABLE main.gold.renamed;
-- error: NOT_FOUND: table 'main.gold.renamed' does not exist
DROP TABLE IF EXISTS main.gold.renamed;
-- ok
