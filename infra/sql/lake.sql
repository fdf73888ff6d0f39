-- What the lake itself asks.

-- name: offsets
-- The next offset to read of each partition.
SELECT topic, partition, max(next_offset) AS next_offset
FROM offsets
GROUP BY ALL
ORDER BY ALL;

-- name: schema
-- The version that the schema has reached.
SELECT coalesce(max(version), 0) AS version
FROM schema_version;

-- name: snapshot
-- The number of the version that is read now.
SELECT id
FROM lake.current_snapshot();
