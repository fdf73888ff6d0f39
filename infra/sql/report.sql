-- What the report of a night and `night bisect` read.

-- name: learned_from
-- At most $limit of the completions that a night learned from, best reward first, with the query and the conversation
-- of the answer that they stand beside; null where that is not in the record any more. One time more keeps the times
-- from being none, since a join with nothing reads everything.
WITH learned AS MATERIALIZED (
    SELECT response_id, collection, text, reward
    FROM completions
    WHERE night = $night AND chosen
    ORDER BY reward DESC, response_id
    LIMIT $limit
),
times AS MATERIALIZED (
    SELECT "at" FROM interactions WHERE response_id IN (SELECT response_id FROM learned)
    UNION ALL SELECT '1970-01-01'::TIMESTAMPTZ
),
asked AS (
    SELECT response_id, any_value(conversation_id) AS conversation_id, any_value(query) AS query
    FROM interactions
    WHERE "at" IN (SELECT "at" FROM times) AND response_id IN (SELECT response_id FROM learned)
    GROUP BY response_id
)
SELECT learned.*, asked.conversation_id, asked.query
FROM learned LEFT JOIN asked USING (response_id)
ORDER BY learned.reward DESC, learned.response_id;

-- name: evaluated_cases
-- At most $limit cases that nights judged whose id, suite and id, or question hold $text, whatever its capitals;
-- one that is named by $text comes first, so that no limit hides it behind those that only hold it.
SELECT suite, case_id, max(group_id) AS group_id, max(question) AS question, count(DISTINCT night) AS nights
FROM evaluations
GROUP BY suite, case_id
HAVING contains(lower(suite || '/' || case_id), lower($text::VARCHAR))
    OR contains(lower(max(question)), lower($text::VARCHAR))
ORDER BY $text::VARCHAR IN (case_id, suite || '/' || case_id) DESC, suite, case_id
LIMIT $limit;

-- name: case_history
-- The answers of stable and candidate to the cases with the id $text in each night, oldest first, with the verdict.
SELECT e.night, e.suite, e.case_id, min(coalesce(n.started_at, e."at")) AS "at", any_value(n.verdict) AS verdict,
    any_value(e.adapter) FILTER (e.model = 'stable') AS stable_adapter,
    any_value(e.answer) FILTER (e.model = 'stable') AS stable_answer,
    any_value(e.score) FILTER (e.model = 'stable') AS stable_score,
    any_value(e.adapter) FILTER (e.model = 'candidate') AS candidate_adapter,
    any_value(e.answer) FILTER (e.model = 'candidate') AS candidate_answer,
    any_value(e.score) FILTER (e.model = 'candidate') AS candidate_score
FROM evaluations AS e LEFT JOIN night_states AS n ON n.night = e.night
WHERE e.case_id = $text
GROUP BY e.night, e.suite, e.case_id
ORDER BY "at", e.night, e.suite;

-- name: deployment_history
-- All decisions about deployment, oldest first, without their evidence.
SELECT "at", event_id, action, adapter, share, actor
FROM deployments
ORDER BY "at", event_id;
