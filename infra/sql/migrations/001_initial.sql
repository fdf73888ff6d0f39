-- The record's first schema. Rows are only ever appended; the current state of a thing is a query over its
-- history. Columns named log_… say where on the event log a row comes from. JSON is kept as text.

CREATE TABLE interactions (
    event_id VARCHAR, "at" TIMESTAMPTZ, log_topic VARCHAR, log_partition INTEGER, log_offset BIGINT,
    response_id VARCHAR, conversation_id VARCHAR, turn INTEGER, user_id VARCHAR, collection VARCHAR,
    query VARCHAR, prompt VARCHAR, facts VARCHAR, answer VARCHAR,
    arm VARCHAR, adapter VARCHAR, canary VARCHAR, fallback_from VARCHAR,
    status VARCHAR, error VARCHAR, finish_reason VARCHAR,
    prompt_tokens INTEGER, completion_tokens INTEGER, first_token_s DOUBLE, latency_s DOUBLE,
    streamed BOOLEAN, redactions VARCHAR, extra VARCHAR
);

CREATE TABLE feedback (
    event_id VARCHAR, "at" TIMESTAMPTZ, log_topic VARCHAR, log_partition INTEGER, log_offset BIGINT,
    response_id VARCHAR, rating TINYINT, comment VARCHAR, correction VARCHAR, user_id VARCHAR, extra VARCHAR
);

-- Inferred feedback: event_id is the interaction's event id and the kind, so an event can give several.
CREATE TABLE signals (
    event_id VARCHAR, "at" TIMESTAMPTZ, log_topic VARCHAR, log_partition INTEGER, log_offset BIGINT,
    conversation_id VARCHAR, response_id VARCHAR, kind VARCHAR, value DOUBLE
);

CREATE TABLE nights (
    event_id VARCHAR, "at" TIMESTAMPTZ, log_topic VARCHAR, log_partition INTEGER, log_offset BIGINT,
    night VARCHAR, slot VARCHAR, state VARCHAR, stage VARCHAR, verdict VARCHAR, adapter VARCHAR,
    reason VARCHAR, seconds DOUBLE, manifest VARCHAR, extra VARCHAR
);

CREATE TABLE completions (
    event_id VARCHAR, "at" TIMESTAMPTZ, log_topic VARCHAR, log_partition INTEGER, log_offset BIGINT,
    night VARCHAR, response_id VARCHAR, collection VARCHAR, sample INTEGER, text VARCHAR,
    reward DOUBLE, parts VARCHAR, tokens INTEGER, chosen BOOLEAN, extra VARCHAR
);

-- case_id and group_id: `case` and `group` are words of SQL.
CREATE TABLE evaluations (
    event_id VARCHAR, "at" TIMESTAMPTZ, log_topic VARCHAR, log_partition INTEGER, log_offset BIGINT,
    night VARCHAR, suite VARCHAR, case_id VARCHAR, group_id VARCHAR, model VARCHAR, adapter VARCHAR,
    answer VARCHAR, score DOUBLE, tokens INTEGER, latency_s DOUBLE, parts VARCHAR, extra VARCHAR
);

CREATE TABLE deployments (
    event_id VARCHAR, "at" TIMESTAMPTZ, log_topic VARCHAR, log_partition INTEGER, log_offset BIGINT,
    action VARCHAR, adapter VARCHAR, share DOUBLE, actor VARCHAR, reason VARCHAR, evidence VARCHAR,
    extra VARCHAR
);

-- What could not be read, whole and with the reason: nothing that was appended is ever dropped.
CREATE TABLE dead_letters (
    "at" TIMESTAMPTZ, topic VARCHAR, partition INTEGER, "offset" BIGINT, key VARCHAR, value VARCHAR,
    reason VARCHAR
);

-- The next offset to read of each partition, one row for each commit that moved it.
CREATE TABLE offsets (
    "at" TIMESTAMPTZ, topic VARCHAR, partition INTEGER, next_offset BIGINT
);

-- The steps of this folder that have been taken.
CREATE TABLE schema_version (
    "at" TIMESTAMPTZ, version INTEGER, name VARCHAR
);

-- Each night as it stands now: begin, end, latest state and stage, verdict, seconds, manifest.
CREATE VIEW night_states AS
SELECT
    night,
    min("at") AS started_at,
    max("at") FILTER (state = 'ended') AS ended_at,
    arg_max(slot, ("at", event_id)) AS slot,
    CASE WHEN bool_or(state = 'ended') THEN 'ended' ELSE 'running' END AS state,
    arg_max(stage, ("at", event_id)) FILTER (stage <> '') AS stage,
    coalesce(arg_max(verdict, ("at", event_id)) FILTER (state = 'ended'), '') AS verdict,
    coalesce(arg_max(adapter, ("at", event_id)) FILTER (adapter <> ''), '') AS adapter,
    coalesce(arg_max(reason, ("at", event_id)) FILTER (state = 'ended'), '') AS reason,
    coalesce(arg_max(seconds, ("at", event_id)) FILTER (state = 'ended'),
        sum(seconds) FILTER (state = 'stage'), 0) AS seconds,
    coalesce(arg_max(manifest, ("at", event_id)) FILTER (state = 'ended'), '{}') AS manifest
FROM nights
GROUP BY night;
