-- What keeps the record small and quick. Run by the collector alone.

-- name: forget_interactions
-- Removes answers given before a time.
DELETE FROM interactions WHERE "at" < $before;

-- name: forget_feedback
-- Removes what customers said of answers before a time.
DELETE FROM feedback WHERE "at" < $before;

-- name: forget_signals
-- Removes what was inferred before a time.
DELETE FROM signals WHERE "at" < $before;

-- name: forget_completions
-- Removes completions of nights before a time; the nights themselves stay.
DELETE FROM completions WHERE "at" < $before;

-- name: forget_dead_letters
-- Removes dead letters from before a time.
DELETE FROM dead_letters WHERE "at" < $before;

-- name: forget_dead_letter
-- Removes the dead letter of one place on the log.
DELETE FROM dead_letters WHERE topic = $topic AND partition = $partition AND "offset" = $offset;

-- name: forget_offsets
-- Removes offsets that later ones replaced.
DELETE FROM offsets
WHERE "at" < $before
  AND next_offset < (
    SELECT max(later.next_offset) FROM offsets AS later
    WHERE later.log = offsets.log AND later.topic = offsets.topic AND later.partition = offsets.partition
  );

-- name: rewrite_files
-- Writes files anew of which a tenth or more was removed.
SELECT count(*) AS n FROM ducklake_rewrite_data_files('lake', delete_threshold => 0.1);

-- name: expire_versions
-- Ends the versions of the record from before a time; what they alone need may then be deleted.
SELECT count(*) AS n FROM ducklake_expire_snapshots('lake', older_than => $before);

-- name: delete_files
-- Deletes files that no version has needed since a time. On a SQLite catalog the hour does not count.
SELECT count(*) AS n FROM ducklake_cleanup_old_files('lake', older_than => $before);
