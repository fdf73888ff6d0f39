"""What the collector counts, for `/metrics`."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Seconds. A commit takes about 80 ms on two busy cores; above 5 s it waits for a locked catalog.
_COMMIT = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """The counters and gauges of one collector, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.stored = Counter("nightshift_events_stored", "Rows written", ["table"], registry=registry)
        self.dead_letters = Counter(
            "nightshift_dead_letters", "Events that cannot be read", registry=registry
        )
        self.duplicates = Counter("nightshift_duplicates", "Events recorded before", registry=registry)
        self.lag = Gauge("nightshift_lag", "Records behind", ["topic", "partition"], registry=registry)
        self.commit = Histogram(
            "nightshift_commit_seconds", "One lake transaction", buckets=_COMMIT, registry=registry
        )
        self.failures = Counter(
            "nightshift_commit_failures", "Commits that the lake refused", registry=registry
        )
        self._committed = time.monotonic()
        Gauge(
            "nightshift_seconds_since_commit", "Since the last commit, or the start", registry=registry
        ).set_function(lambda: time.monotonic() - self._committed)

    def committed(self, seconds: float) -> None:
        self.commit.observe(seconds)
        self._committed = time.monotonic()
