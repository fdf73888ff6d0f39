-- What a night and a canary's verdict read. Ordered, so that a seed gives the same night again.

-- name: logged_queries
-- Answered interactions from $since up to, but without, $until: what a night may learn from.
SELECT response_id, conversation_id, turn, "at", collection, query, prompt, facts, answer, arm, adapter
FROM interactions
WHERE status = 'ok' AND "at" >= $since AND "at" < $until
ORDER BY "at", event_id;

-- name: ratings
-- The latest thumb of each response; a later comment without a thumb leaves it as it was.
SELECT response_id, arg_max(rating, ("at", event_id)) AS rating
FROM feedback
WHERE rating <> 0 OR (comment = '' AND correction = '')
GROUP BY response_id
ORDER BY response_id;

-- name: outcomes
-- Every interaction while $canary ran, both arms, since $since, with its latest thumb (1, -1 or null).
WITH ratings AS (
    SELECT response_id, nullif(arg_max(rating, ("at", event_id)), 0) AS rating
    FROM feedback
    WHERE rating <> 0 OR (comment = '' AND correction = '')
    GROUP BY response_id
)
SELECT i.response_id, i.conversation_id, i."at", i.arm, i.adapter, i.fallback_from, i.query, i.facts,
    i.answer, i.status, i.completion_tokens, i.first_token_s, i.latency_s, r.rating
FROM interactions AS i LEFT JOIN ratings AS r USING (response_id)
WHERE i.canary = $canary AND i."at" >= $since
ORDER BY i."at", i.event_id;
