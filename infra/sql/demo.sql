-- What the demo compares with what its customers were told.

-- name: response_ids
-- The ids of all recorded answers.
SELECT DISTINCT response_id FROM interactions ORDER BY response_id;
