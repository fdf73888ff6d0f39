-- What the tests of faults count.

-- name: held
-- One row: answers and feedback together, their different event ids, and dead letters.
WITH all_ids AS (SELECT event_id FROM interactions UNION ALL SELECT event_id FROM feedback)
SELECT count(*) AS n, count(DISTINCT event_id) AS ids, (SELECT count(*) FROM dead_letters) AS dead_letters
FROM all_ids;
