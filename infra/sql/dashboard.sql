-- What the pages show. Times are UTC; every query is bounded by a limit, a window or one thing's name.

-- name: totals
-- One row: how much the record holds, and when it begins and ends.
SELECT
    (SELECT count(*) FROM interactions) AS interactions,
    (SELECT count(DISTINCT conversation_id) FROM interactions) AS conversations,
    (SELECT count(*) FROM interactions WHERE status = 'error') AS errors,
    (SELECT count(*) FROM feedback WHERE rating > 0) AS thumbs_up,
    (SELECT count(*) FROM feedback WHERE rating < 0) AS thumbs_down,
    (SELECT count(*) FROM signals) AS signals,
    (SELECT count(DISTINCT night) FROM nights) AS nights,
    (SELECT count(*) FROM completions) AS completions,
    (SELECT count(*) FROM completions WHERE chosen) AS chosen,
    (SELECT count(*) FROM evaluations) AS evaluations,
    (SELECT count(*) FROM deployments) AS deployments,
    (SELECT count(*) FROM dead_letters) AS dead_letters,
    (SELECT min("at") FROM interactions) AS first_at,
    (SELECT max("at") FROM interactions) AS last_at;

-- name: traffic
-- For each bucket of $bucket_s seconds since $since and each arm: answers, failures, thumbs, latencies.
WITH thumbs AS (
    SELECT response_id, arg_max(rating, ("at", event_id)) AS rating
    FROM feedback
    WHERE "at" >= $since AND (rating <> 0 OR (comment = '' AND correction = ''))
    GROUP BY response_id
)
SELECT
    time_bucket(to_seconds($bucket_s), i."at") AS bucket,
    i.arm,
    count(*) AS answers,
    count(*) FILTER (i.status = 'ok' AND i.fallback_from = '' AND coalesce(t.rating, 0) >= 0) AS good,
    count(*) FILTER (i.status = 'error') AS errors,
    count(*) FILTER (i.fallback_from <> '') AS fallbacks,
    count(*) FILTER (t.rating > 0) AS thumbs_up,
    count(*) FILTER (t.rating < 0) AS thumbs_down,
    sum(i.completion_tokens) AS completion_tokens,
    quantile_cont(i.first_token_s, 0.5) AS first_token_p50_s,
    quantile_cont(i.latency_s, 0.5) AS latency_p50_s,
    quantile_cont(i.latency_s, 0.95) AS latency_p95_s
FROM interactions AS i LEFT JOIN thumbs AS t USING (response_id)
WHERE i."at" >= $since
GROUP BY ALL
ORDER BY bucket, i.arm;

-- name: recent_interactions
-- The newest $limit interactions before $before (null for now), newest first, with rating and signals.
WITH newest AS MATERIALIZED (
    SELECT "at"
    FROM interactions
    WHERE $before::TIMESTAMPTZ IS NULL OR "at" < $before
    ORDER BY "at" DESC
    LIMIT $limit
),
page AS MATERIALIZED (
    SELECT * EXCLUDE (prompt, log_topic, log_partition, log_offset)
    FROM interactions
    WHERE "at" IN (SELECT "at" FROM newest)
    ORDER BY "at" DESC, event_id DESC
    LIMIT $limit
),
thumbs AS (
    SELECT response_id, nullif(arg_max(rating, ("at", event_id)), 0) AS rating
    FROM feedback
    WHERE response_id IN (SELECT response_id FROM page)
        AND (rating <> 0 OR (comment = '' AND correction = ''))
    GROUP BY response_id
),
signs AS (
    SELECT response_id, list(kind ORDER BY kind) AS signals
    FROM signals
    WHERE response_id IN (SELECT response_id FROM page)
    GROUP BY response_id
)
SELECT page.*, thumbs.rating, coalesce(signs.signals, []) AS signals
FROM page LEFT JOIN thumbs USING (response_id) LEFT JOIN signs USING (response_id)
ORDER BY page."at" DESC, page.event_id DESC;

-- name: conversation
-- All interactions of one conversation, oldest first, with rating, comment, correction and signals.
WITH times AS MATERIALIZED (
    SELECT "at" FROM interactions WHERE conversation_id = $conversation_id
),
said AS MATERIALIZED (
    SELECT * EXCLUDE (log_topic, log_partition, log_offset)
    FROM interactions
    WHERE "at" IN (SELECT "at" FROM times) AND conversation_id = $conversation_id
),
thumbs AS (
    SELECT response_id,
        nullif(arg_max(rating, ("at", event_id))
            FILTER (rating <> 0 OR (comment = '' AND correction = '')), 0) AS rating,
        arg_max(comment, ("at", event_id)) FILTER (comment <> '') AS comment,
        arg_max(correction, ("at", event_id)) FILTER (correction <> '') AS correction
    FROM feedback
    WHERE response_id IN (SELECT response_id FROM said)
    GROUP BY response_id
),
signs AS (
    SELECT response_id, list(kind ORDER BY kind) AS signals
    FROM signals
    WHERE conversation_id = $conversation_id
    GROUP BY response_id
)
SELECT said.*, thumbs.rating, thumbs.comment, thumbs.correction, coalesce(signs.signals, []) AS signals
FROM said LEFT JOIN thumbs USING (response_id) LEFT JOIN signs USING (response_id)
ORDER BY said."at", said.event_id;

-- name: nights
-- The newest $limit nights as they stand now, newest first.
SELECT * FROM night_states ORDER BY started_at DESC, night DESC LIMIT $limit;

-- name: night
-- One night as it stands now; no row when it is unknown.
SELECT * FROM night_states WHERE night = $night;

-- name: stages
-- The stages of a night in the order they were finished, with their seconds and what they measured.
SELECT "at", stage, seconds, reason, manifest
FROM nights
WHERE night = $night AND state = 'stage'
ORDER BY "at", event_id;

-- name: evaluations
-- A night's evaluations for each suite and model: cases, mean score, mean tokens and latency.
SELECT suite, model, any_value(adapter) AS adapter, count(*) AS cases, count(DISTINCT group_id) AS groups,
    avg(score) AS score, avg(tokens) AS tokens, avg(latency_s) AS latency_s
FROM evaluations
WHERE night = $night
GROUP BY suite, model
ORDER BY suite, model DESC;

-- name: evaluation_cases
-- At most $limit of a night's cases with both models' answers, those where the scores differ most first.
SELECT suite, case_id, any_value(group_id) AS group_id, max(question) AS question,
    any_value(answer) FILTER (model = 'stable') AS stable_answer,
    any_value(answer) FILTER (model = 'candidate') AS candidate_answer,
    any_value(score) FILTER (model = 'stable') AS stable_score,
    any_value(score) FILTER (model = 'candidate') AS candidate_score
FROM evaluations
WHERE night = $night
GROUP BY suite, case_id
ORDER BY coalesce(abs(stable_score - candidate_score), 0) DESC, suite, case_id
LIMIT $limit;

-- name: completions
-- At most $limit of a night's completions with the query they answer: whole groups, best reward first.
WITH few AS (
    SELECT * EXCLUDE (log_topic, log_partition, log_offset)
    FROM completions
    WHERE night = $night
    ORDER BY response_id, reward DESC, sample
    LIMIT $limit
),
asked AS (
    SELECT response_id, any_value(query) AS query
    FROM interactions
    WHERE response_id IN (SELECT response_id FROM few)
    GROUP BY response_id
)
SELECT few.*, asked.query
FROM few LEFT JOIN asked USING (response_id)
ORDER BY few.response_id, few.reward DESC, few.sample;

-- name: completion_counts
-- One row for a night: groups, completions, groups with a chosen one, mean reward of all and of the chosen.
SELECT count(DISTINCT response_id) AS groups, count(*) AS completions, count(*) FILTER (chosen) AS chosen,
    avg(reward) AS reward, avg(reward) FILTER (chosen) AS chosen_reward, sum(tokens) AS tokens
FROM completions
WHERE night = $night;

-- name: deployments
-- The newest $limit decisions about deployment, newest first.
SELECT event_id, "at", action, adapter, share, actor, reason, evidence
FROM deployments
ORDER BY "at" DESC, event_id DESC
LIMIT $limit;

-- name: dead_letters
-- The newest $limit dead letters, newest first.
SELECT "at", topic, partition, "offset", key, value, reason
FROM dead_letters
ORDER BY "at" DESC, topic, partition, "offset" DESC
LIMIT $limit;

-- name: canary_outcomes
-- For each arm while $canary ran: answers, failures, thumbs, latencies and lengths.
WITH trial AS (
    SELECT response_id, arm, status, fallback_from, completion_tokens, first_token_s, latency_s, "at"
    FROM interactions
    WHERE canary = $canary
),
thumbs AS (
    SELECT response_id, arg_max(rating, ("at", event_id)) AS rating
    FROM feedback
    WHERE response_id IN (SELECT response_id FROM trial)
        AND (rating <> 0 OR (comment = '' AND correction = ''))
    GROUP BY response_id
)
SELECT
    arm,
    count(*) AS answers,
    count(*) FILTER (status = 'ok') AS ok,
    count(*) FILTER (status = 'ok' AND fallback_from = '' AND coalesce(rating, 0) >= 0) AS good,
    count(*) FILTER (status = 'error') AS errors,
    count(*) FILTER (fallback_from <> '') AS fallbacks,
    count(*) FILTER (rating > 0) AS thumbs_up,
    count(*) FILTER (rating < 0) AS thumbs_down,
    median(completion_tokens) AS completion_tokens_p50,
    quantile_cont(first_token_s, 0.5) AS first_token_p50_s,
    quantile_cont(latency_s, 0.5) AS latency_p50_s,
    quantile_cont(latency_s, 0.95) AS latency_p95_s,
    min("at") AS first_at,
    max("at") AS last_at
FROM trial LEFT JOIN thumbs USING (response_id)
GROUP BY arm
ORDER BY arm;

-- name: answers
-- One row: all interactions, and the time of the first.
SELECT count(*) AS answers, min("at") AS first_at FROM interactions;

-- name: answers_since
-- One row: interactions since $since.
SELECT count(*) AS answers FROM interactions WHERE "at" >= $since;

-- name: arms
-- For each arm and adapter since $since: answers, good ones, failures, thumbs, latencies.
WITH thumbs AS (
    SELECT response_id, arg_max(rating, ("at", event_id)) AS rating
    FROM feedback
    WHERE "at" >= $since AND (rating <> 0 OR (comment = '' AND correction = ''))
    GROUP BY response_id
)
SELECT
    i.arm,
    i.adapter,
    count(*) AS answers,
    count(*) FILTER (i.status = 'ok' AND i.fallback_from = '' AND coalesce(t.rating, 0) >= 0) AS good,
    count(*) FILTER (i.status = 'error') AS errors,
    count(*) FILTER (i.fallback_from <> '') AS fallbacks,
    count(*) FILTER (t.rating > 0) AS thumbs_up,
    count(*) FILTER (t.rating < 0) AS thumbs_down,
    quantile_cont(i.first_token_s, 0.5) AS first_token_p50_s,
    quantile_cont(i.latency_s, 0.5) AS latency_p50_s,
    quantile_cont(i.latency_s, 0.95) AS latency_p95_s
FROM interactions AS i LEFT JOIN thumbs AS t USING (response_id)
WHERE i."at" >= $since
GROUP BY i.arm, i.adapter
ORDER BY i.arm DESC, answers DESC;

-- name: answered_before
-- The time of the newest interaction before $before (null for now) but $offset; no row when there are no more that
-- are not before $since (null for all).
SELECT "at"
FROM interactions
WHERE ($since::TIMESTAMPTZ IS NULL OR "at" >= $since) AND ($before::TIMESTAMPTZ IS NULL OR "at" < $before)
ORDER BY "at" DESC
LIMIT 1 OFFSET $offset;

-- name: conversations
-- The newest $limit conversations whose last answer like $text (a pattern for ILIKE on query and answer, null for
-- all) is before $before (null for now) and not before $since (null for all): that answer's time, and of a day on
-- either side of it the last time, first query, all answers, arm, thumbs; newest first. One that goes on with such an
-- answer within a day from $before is left out. Ids of conversations tell nothing of their place in the record, so
-- they are looked for near by alone; times come first, and texts are read only where they lie. One time more keeps
-- the times from being none, since a join with nothing reads everything.
WITH near AS (
    SELECT conversation_id, max("at") AS found_at
    FROM interactions
    WHERE ($since::TIMESTAMPTZ IS NULL OR "at" >= $since) AND ($before::TIMESTAMPTZ IS NULL OR "at" < $before)
        AND ($text::VARCHAR IS NULL OR query ILIKE $text ESCAPE '\' OR answer ILIKE $text ESCAPE '\')
    GROUP BY conversation_id
),
later_times AS MATERIALIZED (
    SELECT "at"
    FROM interactions
    WHERE "at" >= $before AND "at" < $before::TIMESTAMPTZ + INTERVAL 1 DAY
        AND conversation_id IN (SELECT conversation_id FROM near)
    UNION ALL SELECT $before
),
later AS (
    SELECT conversation_id
    FROM interactions
    WHERE "at" IN (SELECT "at" FROM later_times) AND "at" >= $before
        AND ($text::VARCHAR IS NULL OR query ILIKE $text ESCAPE '\' OR answer ILIKE $text ESCAPE '\')
),
page AS MATERIALIZED (
    SELECT *
    FROM near
    WHERE conversation_id NOT IN (SELECT conversation_id FROM later)
    ORDER BY found_at DESC, conversation_id
    LIMIT $limit
),
times AS MATERIALIZED (
    SELECT "at"
    FROM interactions
    WHERE ($since::TIMESTAMPTZ IS NULL OR "at" >= $since::TIMESTAMPTZ - INTERVAL 1 DAY)
        AND ($before::TIMESTAMPTZ IS NULL OR "at" < $before::TIMESTAMPTZ + INTERVAL 1 DAY)
        AND conversation_id IN (SELECT conversation_id FROM page)
    UNION ALL SELECT coalesce($since, $before, '1970-01-01'::TIMESTAMPTZ)
),
said AS MATERIALIZED (
    SELECT conversation_id, response_id, "at", event_id, query, collection, arm
    FROM interactions
    WHERE "at" IN (SELECT "at" FROM times) AND conversation_id IN (SELECT conversation_id FROM page)
        AND ($since::TIMESTAMPTZ IS NULL OR "at" >= $since::TIMESTAMPTZ - INTERVAL 1 DAY)
        AND ($before::TIMESTAMPTZ IS NULL OR "at" < $before::TIMESTAMPTZ + INTERVAL 1 DAY)
),
thumbs AS (
    SELECT response_id, arg_max(rating, ("at", event_id)) AS rating
    FROM feedback
    WHERE response_id IN (SELECT response_id FROM said)
        AND ($since::TIMESTAMPTZ IS NULL OR "at" >= $since::TIMESTAMPTZ - INTERVAL 1 DAY)
        AND ($before::TIMESTAMPTZ IS NULL OR "at" < $before::TIMESTAMPTZ + INTERVAL 1 DAY)
        AND (rating <> 0 OR (comment = '' AND correction = ''))
    GROUP BY response_id
)
SELECT conversation_id, max("at") AS last_at, arg_min(query, ("at", event_id)) AS first_query,
    any_value(collection) AS collection, any_value(arm) AS arm, count(*) AS answers,
    count(*) FILTER (rating > 0) AS thumbs_up, count(*) FILTER (rating < 0) AS thumbs_down,
    any_value(found_at) AS found_at
FROM said JOIN page USING (conversation_id) LEFT JOIN thumbs USING (response_id)
WHERE "at" BETWEEN found_at - INTERVAL 1 DAY AND found_at + INTERVAL 1 DAY
GROUP BY conversation_id
ORDER BY found_at DESC, conversation_id;
