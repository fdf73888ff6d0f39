-- What measurements read, and the made-up past that they read it in: see infra/bench/history.py.

-- name: every_interaction
-- All columns of all interactions.
SELECT * FROM interactions;

-- name: bench_facts
-- Keeps the choices of facts in $text (a JSON list) for this connection.
CREATE OR REPLACE TEMP TABLE bench_facts AS
SELECT unnest(from_json(coalesce($text::VARCHAR, '[]')::JSON, '[{"number": "INTEGER", "collection": "VARCHAR",
    "system": "VARCHAR", "facts": ["VARCHAR"], "titles": ["VARCHAR"], "texts": ["VARCHAR"]}]'), recursive := true);

-- name: bench_interactions
-- Makes $limit interactions from number $offset on, $bucket_s seconds apart since $since: conversations of three
-- turns, 51 at a time, of 60 businesses; a canary for two hours of each night; one in a hundred failed.
INSERT INTO interactions
WITH numbered AS (
    SELECT n, hash(n) AS h, $since::TIMESTAMPTZ + to_microseconds((n * $bucket_s::DOUBLE * 1e6)::BIGINT) AS "at",
        n // 153 * 51 + n % 51 AS conversation, n % 153 // 51 AS turn
    FROM range($offset::BIGINT, $offset::BIGINT + $limit::BIGINT) AS numbers(n)
),
drawn AS (
    SELECT *, hash(conversation, 7) AS c,
        '0' || printf('%011X', epoch_ms("at")) || printf('%016X', h)[1:14] AS ulid,
        date_part('hour', "at") IN (3, 4) AS tried,
        'ns-' || strftime("at", '%Y%m%d') || '-' || md5(strftime("at", '%Y%m%d'))[1:12] AS tonight,
        'ns-' || strftime("at" - INTERVAL 1 DAY, '%Y%m%d') || '-'
            || md5(strftime("at" - INTERVAL 1 DAY, '%Y%m%d'))[1:12] AS yesterday
    FROM numbered
),
found AS (
    SELECT drawn.*, f.*, CASE
        WHEN h % 10 < 3 THEN titles[1]
        ELSE titles[1] || ' On ' || dayname("at" + to_days(((h >> 8) % 7)::INTEGER)) || ' for '
            || (h >> 12) % 200 || ' people?' END AS asked
    FROM drawn JOIN bench_facts AS f
    ON f.number = floor(60 * pow((c % 10007) / 10007, 2))::INTEGER * 100 + ((h >> 16) % 100)::INTEGER
)
SELECT
    ulid AS event_id, "at", 'interactions' AS log_topic, 0 AS log_partition, n AS log_offset,
    'chatcmpl-' || ulid || '-' || md5(ulid)[1:20] AS response_id,
    md5(conversation::VARCHAR)[1:16] AS conversation_id, turn, '' AS user_id,
    CASE WHEN conversation % 300000 = 7 THEN 'rare' ELSE collection END AS collection,
    asked AS query,
    '[{"role":"system","content":"' || system || '"},'
        || CASE WHEN turn > 0 THEN '{"role":"user","content":"' || titles[2]
            || '"},{"role":"assistant","content":"' || texts[2] || '"},' ELSE '' END
        || CASE WHEN turn > 1 THEN '{"role":"user","content":"' || titles[3]
            || '"},{"role":"assistant","content":"' || texts[3] || '"},' ELSE '' END
        || '{"role":"user","content":"' || asked || '"}]' AS prompt,
    CASE WHEN h % 25 = 0 THEN '[]' ELSE '[' || array_to_string(
        list_transform(facts, lambda fact, i: fact || ((h >> i) % 100000) / 100000 || '}'), ',') || ']' END AS facts,
    texts[1] AS answer,
    CASE WHEN tried AND c % 2 = 0 THEN 'canary' ELSE 'stable' END AS arm,
    CASE WHEN tried AND c % 2 = 0 THEN tonight ELSE yesterday END AS adapter,
    CASE WHEN tried THEN tonight ELSE '' END AS canary,
    CASE WHEN tried AND h % 500 = 2 THEN tonight ELSE '' END AS fallback_from,
    CASE WHEN h % 100 = 3 THEN 'error' ELSE 'ok' END AS status,
    CASE WHEN h % 100 = 3 THEN 'The engine did not answer.' ELSE '' END AS error,
    'stop' AS finish_reason, (200 + h % 100)::INTEGER AS prompt_tokens, (8 + h % 30)::INTEGER AS completion_tokens,
    0.05 + (h % 1000) / 5000 AS first_token_s, 0.3 + (h % 3000) / 3000 AS latency_s, h % 3 = 0 AS streamed,
    '{}' AS redactions, '{}' AS extra
FROM found
ORDER BY n;

-- name: bench_feedback
-- Makes the thumbs (one of twenty, a quarter of them down) of the interactions that `bench_interactions` makes.
INSERT INTO feedback
WITH numbered AS (
    SELECT n, hash(n) AS h, $since::TIMESTAMPTZ + to_microseconds((n * $bucket_s::DOUBLE * 1e6)::BIGINT) AS "at"
    FROM range($offset::BIGINT, $offset::BIGINT + $limit::BIGINT) AS numbers(n)
    WHERE h % 20 = 5
),
drawn AS (
    SELECT *, '0' || printf('%011X', epoch_ms("at")) || printf('%016X', h)[1:14] AS ulid,
        '0' || printf('%011X', epoch_ms("at") + 20000) || printf('%016X', h)[1:14] AS own
    FROM numbered
)
SELECT own AS event_id, "at" + INTERVAL 20 SECOND AS "at", 'feedback' AS log_topic, 0 AS log_partition,
    n AS log_offset, 'chatcmpl-' || ulid || '-' || md5(ulid)[1:20] AS response_id,
    CASE WHEN (h >> 20) % 4 = 0 THEN -1 ELSE 1 END::TINYINT AS rating,
    CASE WHEN (h >> 24) % 10 = 0 THEN 'That helped, thank you very much.' ELSE '' END AS comment,
    '' AS correction, '' AS user_id, '{}' AS extra
FROM drawn
ORDER BY n;

-- name: bench_signals
-- Makes what was inferred (from one of ten) of the interactions that `bench_interactions` makes.
INSERT INTO signals
WITH numbered AS (
    SELECT n, hash(n) AS h, $since::TIMESTAMPTZ + to_microseconds((n * $bucket_s::DOUBLE * 1e6)::BIGINT) AS "at",
        n // 153 * 51 + n % 51 AS conversation
    FROM range($offset::BIGINT, $offset::BIGINT + $limit::BIGINT) AS numbers(n)
    WHERE h % 10 = 1
),
drawn AS (
    SELECT *, '0' || printf('%011X', epoch_ms("at")) || printf('%016X', h)[1:14] AS ulid FROM numbered
)
SELECT ulid || ':thanks' AS event_id, "at", 'interactions' AS log_topic, 0 AS log_partition, n AS log_offset,
    md5(conversation::VARCHAR)[1:16] AS conversation_id,
    'chatcmpl-' || ulid || '-' || md5(ulid)[1:20] AS response_id, 'thanks' AS kind, 1.0 AS value
FROM drawn
ORDER BY n;

-- name: bench_completions
-- Makes the completions of $limit nights since $since, 8 samples each of at most 400 queries: any of the $offset
-- newest answers before the night (answers come every $bucket_s seconds), as a night looks at the newest first.
INSERT INTO completions
WITH nights AS (
    SELECT night, $since::TIMESTAMPTZ + to_days(night::INTEGER) AS "at" FROM range($limit::BIGINT) AS numbers(night)
),
asked AS (
    SELECT night, nights."at", response_id, collection,
        row_number() OVER (PARTITION BY night ORDER BY hash(response_id)) - 1 AS place
    FROM interactions JOIN nights ON interactions."at" < nights."at"
        AND interactions."at" >= nights."at" - to_microseconds(($offset::BIGINT * $bucket_s::DOUBLE * 1e6)::BIGINT)
    QUALIFY place < 400
),
drawn AS (
    SELECT *, place * 8 + sample AS number, hash(place, sample) AS h FROM asked, range(8) AS samples(sample)
)
SELECT 'completion-' || night || '-' || number AS event_id, "at", 'nights' AS log_topic, 0 AS log_partition,
    night * 4000 + number AS log_offset, 'night-' || night AS night, response_id, collection, sample::INTEGER AS sample,
    'Yes, there is free parking behind the house for all of our guests.' AS text,
    (h % 1000) / 1000 AS reward, '{"covers": 0.8, "grounded": 0.9}' AS parts, (8 + h % 30)::INTEGER AS tokens,
    number % 16 = 0 AS chosen, '{}' AS extra
FROM drawn
ORDER BY night, number;

-- name: bench_evaluations
-- Makes the evaluations of $limit nights since $since: 240 cases, both models.
INSERT INTO evaluations BY NAME
SELECT 'evaluation-' || night || '-' || number AS event_id, $since::TIMESTAMPTZ + to_days(night::INTEGER) AS "at",
    'nights' AS log_topic, 0 AS log_partition, night * 4000 + 3300 + number AS log_offset,
    'night-' || night AS night, 'suite' AS suite, 'case-' || number // 2 AS case_id, 'hotel' AS group_id,
    CASE WHEN number % 2 = 0 THEN 'stable' ELSE 'candidate' END AS model, 'ns-x' AS adapter,
    'Do you have parking for ' || number // 2 || ' cars?' AS question,
    'Yes, there is free parking behind the house.' AS answer, hash(night, number) % 2 AS score,
    9 AS tokens, 0.4 AS latency_s, '{}' AS parts, '{}' AS extra
FROM range($limit::BIGINT) AS nights(night), range(480) AS numbers(number);

-- name: bench_nights
-- Makes $limit nights since $since: each begins, finishes eight stages, and ends with a manifest.
INSERT INTO nights
SELECT 'night-' || night || '-' || step AS event_id,
    $since::TIMESTAMPTZ + to_days(night::INTEGER) + to_minutes(step) AS "at", 'nights' AS log_topic,
    0 AS log_partition, night * 4000 + step AS log_offset, 'night-' || night AS night, 'slot-' || night AS slot,
    CASE step WHEN 0 THEN 'started' WHEN 9 THEN 'ended' ELSE 'stage' END AS state,
    CASE WHEN step BETWEEN 1 AND 8 THEN 'stage-' || step ELSE '' END AS stage,
    CASE step WHEN 9 THEN 'pass' ELSE '' END AS verdict, CASE step WHEN 9 THEN 'ns-x' ELSE '' END AS adapter,
    '' AS reason, step * 10.0 AS seconds,
    CASE step WHEN 9 THEN '{"text": "' || repeat('m', 4000) || '"}' ELSE '{}' END AS manifest, '{}' AS extra
FROM range($limit::BIGINT) AS nights(night), range(10) AS steps(step);

-- name: bench_deployments
-- Makes two decisions for each of $limit nights since $since.
INSERT INTO deployments
SELECT 'deployment-' || number AS event_id, $since::TIMESTAMPTZ + to_hours(number * 12) AS "at",
    'deployments' AS log_topic, 0 AS log_partition, number AS log_offset,
    CASE WHEN number % 2 = 0 THEN 'canary' ELSE 'promote' END AS action, 'ns-x' AS adapter, 0.5 AS share,
    'trainer' AS actor, '' AS reason, '{}' AS evidence, '{}' AS extra
FROM range($limit::BIGINT * 2) AS numbers(number);

-- name: bench_dead_letters
-- Makes $limit dead letters since $since.
INSERT INTO dead_letters
SELECT $since::TIMESTAMPTZ + to_hours(number) AS "at", 'interactions' AS topic, 0 AS partition,
    number AS "offset", 'key' AS key, repeat('not an event ', 20) AS value, 'Not an event.' AS reason
FROM range($limit::BIGINT) AS numbers(number);

-- name: bench_offsets
-- Makes the offsets of commits every $bucket_s seconds in the day and a half before $until: what the upkeep leaves.
-- They name a log that nobody reads.
INSERT INTO offsets ("at", topic, partition, next_offset)
SELECT $until::TIMESTAMPTZ - to_microseconds(((129600 / $bucket_s::DOUBLE - number) * $bucket_s * 1e6)::BIGINT) AS "at",
    topic, 0 AS partition, number AS next_offset
FROM range((129600 / $bucket_s::DOUBLE)::BIGINT) AS numbers(number), (VALUES ('bench-1'), ('bench-2')) AS topics(topic)
ORDER BY number;

-- name: bench_names
-- One row: the newest answer's time, the middle's, and what to ask for: a conversation of the middle, a night, and the
-- last canary with a time after which 4,000 of its answers came, when it would have been decided.
WITH ends AS (SELECT max("at") AS now, min("at") + (max("at") - min("at")) / 2 AS middle FROM interactions),
last AS (SELECT max(canary) AS canary FROM interactions)
SELECT now, middle, canary,
    (SELECT min(conversation_id) FROM interactions WHERE "at" BETWEEN middle AND middle + INTERVAL 10 MINUTE)
        AS conversation_id,
    (SELECT max(night) FROM nights) AS night,
    (SELECT min("at") FROM (SELECT "at" FROM interactions WHERE canary = (SELECT canary FROM last)
        ORDER BY "at" DESC LIMIT 4000)) AS trial
FROM ends, last;
