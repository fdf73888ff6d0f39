"""What the agent counts, for Prometheus. Labels take few values: never an id or a customer's text."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from infra.eventlog.outbox import Outbox

# From a stub's millisecond to the longest wait on a slow processor, in seconds.
_LATENCY = (0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
# An fsync takes 0.3 ms on a virtual disk and 10 ms on a busy one.
_RECORD = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.03, 0.1, 0.3, 1.0)


class Metrics:
    """All of them, in a registry of one's own: two agents in one process do not collide."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.requests = Counter(
            "nightshift_requests", "Queries answered", ["arm", "status"], registry=registry
        )
        self.refused = Counter("nightshift_refused", "Requests refused", ["code"], registry=registry)
        self.latency = Histogram(
            "nightshift_latency_seconds",
            "Arrival to durable end",
            ["arm"],
            buckets=_LATENCY,
            registry=registry,
        )
        self.first_token = Histogram(
            "nightshift_first_token_seconds",
            "Arrival to first text",
            ["arm"],
            buckets=_LATENCY,
            registry=registry,
        )
        self.tokens = Counter("nightshift_tokens", "Tokens read and written", ["kind"], registry=registry)
        self.fallbacks = Counter(
            "nightshift_fallbacks", "Answers by another adapter", ["arm"], registry=registry
        )
        self.feedback = Counter("nightshift_feedback", "Feedback received", ["rating"], registry=registry)
        self.record_seconds = Histogram(
            "nightshift_record_seconds", "Append to durable", buckets=_RECORD, registry=registry
        )
        self.unrecorded = Counter("nightshift_unrecorded", "Events that the log refused", registry=registry)
        self.waiting = Gauge(
            "nightshift_outbox", "What waits for the shared event log", ["unit"], registry=registry
        )
        self.redactions = Counter(
            "nightshift_redactions", "Personal data replaced", ["kind"], registry=registry
        )
        self.deployment_version = Gauge(
            "nightshift_deployment_version", "Deployment events seen", registry=registry
        )
        self.adapters = Gauge("nightshift_adapters", "Wanted adapters by state", ["state"], registry=registry)
        self.engines = Gauge("nightshift_engines", "Engines by state", ["state"], registry=registry)
        self.engine_failures = Counter(
            "nightshift_engine_failures", "Requests that an engine failed", registry=registry
        )
        self.bad_documents = Gauge("nightshift_bad_documents", "Documents left out", registry=registry)
        self.errors = Counter(
            "nightshift_loop_errors", "Failures in background work", ["task"], registry=registry
        )

    def watch(self, outbox: Outbox) -> None:
        """Tells the outbox's depth and the age of its oldest event whenever somebody asks."""
        self.waiting.labels("events").set_function(lambda: outbox.backlog.records)
        self.waiting.labels("bytes").set_function(lambda: outbox.backlog.bytes)
        self.waiting.labels("seconds").set_function(lambda: outbox.backlog.age_s)
