-- What measurements read.

-- name: every_interaction
-- All columns of all interactions.
SELECT * FROM interactions;
