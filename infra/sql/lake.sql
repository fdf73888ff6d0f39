-- What the lake itself asks.

-- name: offsets
-- The next offset to read of each partition of $log.
SELECT topic, partition, max(next_offset) AS next_offset
FROM offsets
WHERE log = $log
GROUP BY ALL
ORDER BY ALL;

-- name: files
-- The Parquet files that hold the present version, with their sizes in bytes.
SELECT data_file, data_file_size_bytes AS bytes FROM ducklake_list_files('lake', 'interactions')
UNION ALL SELECT data_file, data_file_size_bytes FROM ducklake_list_files('lake', 'feedback')
UNION ALL SELECT data_file, data_file_size_bytes FROM ducklake_list_files('lake', 'signals')
UNION ALL SELECT data_file, data_file_size_bytes FROM ducklake_list_files('lake', 'nights')
UNION ALL SELECT data_file, data_file_size_bytes FROM ducklake_list_files('lake', 'completions')
UNION ALL SELECT data_file, data_file_size_bytes FROM ducklake_list_files('lake', 'evaluations')
UNION ALL SELECT data_file, data_file_size_bytes FROM ducklake_list_files('lake', 'deployments')
UNION ALL SELECT data_file, data_file_size_bytes FROM ducklake_list_files('lake', 'dead_letters')
UNION ALL SELECT data_file, data_file_size_bytes FROM ducklake_list_files('lake', 'offsets');

-- name: fingerprints
-- For each table that holds customers' words: its rows, and a hash of all their values in whatever order.
SELECT 'interactions' AS name, count(*) AS n, bit_xor(hash(t)) AS hash FROM interactions AS t
UNION ALL SELECT 'feedback', count(*), bit_xor(hash(t)) FROM feedback AS t
UNION ALL SELECT 'signals', count(*), bit_xor(hash(t)) FROM signals AS t
UNION ALL SELECT 'completions', count(*), bit_xor(hash(t)) FROM completions AS t
UNION ALL SELECT 'evaluations', count(*), bit_xor(hash(t)) FROM evaluations AS t
UNION ALL SELECT 'nights', count(*), bit_xor(hash(t)) FROM nights AS t
UNION ALL SELECT 'deployments', count(*), bit_xor(hash(t)) FROM deployments AS t
ORDER BY name;

-- name: schema
-- The version that the schema has reached.
SELECT coalesce(max(version), 0) AS version
FROM schema_version;

-- name: snapshot
-- The number of the version that is read now.
SELECT id
FROM lake.current_snapshot();
