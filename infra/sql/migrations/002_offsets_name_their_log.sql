-- A service may move from a local log to Kafka, or to another cluster: offsets belong to one log.

ALTER TABLE offsets ADD COLUMN log VARCHAR DEFAULT 'local';
