-- What a night and a canary's verdict read. Ordered, so that a seed gives the same night again.

-- name: logged_collections
-- How many answered interactions of each collection there are from $since up to, but without, $until.
SELECT collection, count(*) AS logged
FROM interactions
WHERE status = 'ok' AND "at" >= $since AND "at" < $until
GROUP BY collection
ORDER BY collection;

-- name: logged_part
-- Of the collections in $text (one a line), each question that was answered with facts from $since up to, but
-- without, $until: the newest of those with the same words, newest first, without its long texts. Facts are looked
-- at last: as a condition beside the others they would be read of every collection.
WITH asked AS MATERIALIZED (
    SELECT response_id, "at", event_id, collection, query, facts <> '[]' AS known
    FROM interactions
    WHERE status = 'ok' AND "at" >= $since AND "at" < $until
        AND list_contains(string_split($text::VARCHAR, chr(10)), collection)
)
SELECT response_id, "at", collection, query
FROM asked
WHERE known
QUALIFY row_number() OVER (PARTITION BY collection, query ORDER BY "at" DESC, event_id DESC) = 1
ORDER BY "at" DESC, event_id DESC;

-- name: logged_texts
-- The interactions at the times in $text (microseconds since the epoch, one a line) from $since up to, but without,
-- $until, with their long texts.
SELECT response_id, conversation_id, collection, query, prompt, facts
FROM interactions
WHERE "at" >= $since AND "at" < $until
    AND list_contains(string_split($text::VARCHAR, chr(10))::BIGINT[], epoch_us("at"));

-- name: said_in
-- What was asked in the conversations in $text (one a line) from $since up to, but without, $until, answered or not.
SELECT DISTINCT conversation_id, collection, query
FROM interactions
WHERE "at" >= $since AND "at" < $until
    AND conversation_id IN (SELECT unnest(string_split($text::VARCHAR, chr(10))))
ORDER BY conversation_id, collection, query;

-- name: chosen_completions
-- What nights chose to learn from among the interactions from $since up to, but without, $until: the latest choice for
-- each, newest interaction first, without its long texts. Of nights that were rejected only where nothing spoke against
-- them but that a gain was not proven yet: what is too little for one night adds up over several.
WITH ended AS (
    SELECT night, verdict, list_transform(
        list_filter(
            from_json(manifest::JSON -> 'gates', '[{"name": "VARCHAR", "verdict": "VARCHAR", "estimate": "DOUBLE"}]'),
            gate -> gate.verdict = 'fail'
        ),
        gate -> gate.name || CASE WHEN gate.estimate > 0 THEN ' gained' ELSE '' END
    ) AS failed
    FROM night_states
),
chosen AS MATERIALIZED (
    SELECT night, response_id, sample, text, "at"
    FROM completions
    WHERE chosen AND night NOT IN (
        SELECT night FROM ended WHERE verdict = 'fail' AND failed IS DISTINCT FROM ['held-out gained']
    )
    QUALIFY row_number() OVER (PARTITION BY response_id ORDER BY "at" DESC, night DESC, sample) = 1
),
asked AS MATERIALIZED (
    SELECT response_id, "at", event_id, collection, query
    FROM interactions
    WHERE status = 'ok' AND "at" >= $since AND "at" < $until
        AND response_id IN (SELECT response_id FROM chosen)
)
SELECT chosen.night, chosen.sample, chosen.text AS completion, response_id, asked."at", asked.collection, asked.query
FROM chosen JOIN asked USING (response_id)
ORDER BY asked."at" DESC, asked.event_id DESC;

-- name: groups
-- All completions of the groups in $text (a night and a response, with a space between, one a line), in the order
-- of sampling.
SELECT night, response_id, list(sample ORDER BY sample) AS samples, list(text ORDER BY sample) AS texts
FROM completions
WHERE night || ' ' || response_id IN (SELECT unnest(string_split($text::VARCHAR, chr(10))))
GROUP BY night, response_id;

-- name: ratings
-- The latest thumb of each response; a later comment without a thumb leaves it as it was.
SELECT response_id, arg_max(rating, ("at", event_id)) AS rating
FROM feedback
WHERE rating <> 0 OR (comment = '' AND correction = '')
GROUP BY response_id
ORDER BY response_id;

-- name: outcomes
-- Every interaction while $canary ran, both arms, since $since, with its latest thumb (1, -1 or null) and what the
-- customer's next words in the conversation told of it.
WITH trial AS (
    SELECT response_id, conversation_id, "at", event_id, arm, adapter, fallback_from, query, facts, answer, status,
        completion_tokens, first_token_s, latency_s
    FROM interactions
    WHERE canary = $canary AND "at" >= $since
),
ratings AS (
    SELECT response_id, nullif(arg_max(rating, ("at", event_id)), 0) AS rating
    FROM feedback
    WHERE response_id IN (SELECT response_id FROM trial)
        AND (rating <> 0 OR (comment = '' AND correction = ''))
    GROUP BY response_id
),
turns AS (
    SELECT response_id, lag(response_id) OVER (PARTITION BY conversation_id ORDER BY "at", event_id) AS before
    FROM trial
),
signs AS (
    SELECT before AS response_id, bool_or(kind = 'asks_for_person') AS asked_for_person,
        bool_or(kind IN ('repeated', 'rephrased', 'corrects')) AS asked_again
    FROM signals JOIN turns USING (response_id)
    WHERE signals."at" >= $since AND before IS NOT NULL
    GROUP BY before
)
SELECT trial.* EXCLUDE (event_id), ratings.rating, coalesce(signs.asked_again, false) AS asked_again,
    coalesce(signs.asked_for_person, false) AS asked_for_person
FROM trial LEFT JOIN ratings USING (response_id) LEFT JOIN signs USING (response_id)
ORDER BY trial."at", trial.event_id;

-- name: judged_answers
-- The answers from $since up to, but without, $until that people said something about, the newest $limit, oldest
-- first: the latest thumb (0 for none) and the latest better answer, who gave them and when, and the signs that the
-- next words gave.
WITH said AS (
    SELECT response_id,
        coalesce(arg_max(rating, ("at", event_id)) FILTER (rating <> 0 OR (comment = '' AND correction = '')), 0)
            AS rating,
        coalesce(arg_max(correction, ("at", event_id)) FILTER (correction <> ''), '') AS correction,
        coalesce(arg_max(user_id, ("at", event_id)) FILTER (user_id <> ''), '') AS user_id,
        max("at") AS told_at
    FROM feedback
    WHERE "at" >= $since AND "at" < $until
    GROUP BY response_id
),
turns AS (
    SELECT response_id, lag(response_id) OVER (PARTITION BY conversation_id ORDER BY "at", event_id) AS before
    FROM interactions
    WHERE "at" >= $since AND "at" < $until AND conversation_id IN (
        SELECT conversation_id FROM signals WHERE "at" >= $since AND "at" < $until
    )
),
signs AS (
    SELECT before AS response_id, list(kind ORDER BY kind) AS kinds, max("at") AS told_at
    FROM signals JOIN turns USING (response_id)
    WHERE "at" >= $since AND "at" < $until AND before IS NOT NULL
    GROUP BY before
),
answered AS (
    SELECT response_id, conversation_id, interactions.user_id AS asker, "at", event_id, query, facts, answer,
        coalesce(said.rating, 0) AS rating, coalesce(said.correction, '') AS correction,
        coalesce(said.user_id, '') AS user_id, coalesce(signs.kinds, []) AS signs,
        coalesce(greatest(said.told_at, signs.told_at), said.told_at, signs.told_at) AS told_at
    FROM interactions LEFT JOIN said USING (response_id) LEFT JOIN signs USING (response_id)
    WHERE status = 'ok' AND facts <> '[]' AND "at" >= $since AND "at" < $until
        AND (said.rating <> 0 OR said.correction <> '' OR signs.kinds IS NOT NULL)
    ORDER BY "at" DESC, event_id DESC
    LIMIT $limit
)
SELECT response_id, query, facts, answer, rating, correction, signs, told_at,
    coalesce(nullif(user_id, ''), nullif(asker, ''), conversation_id) AS voter
FROM answered
ORDER BY "at", event_id;
