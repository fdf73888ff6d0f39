"""A topic's SQLite file, opened by several connections."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from infra.eventlog import topic_file


def test_a_new_file_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    for number in range(60):
        file = tmp_path / f"{number}.sqlite"
        barrier = threading.Barrier(4)

        def open_one(file: Path = file, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            topic_file.connect(file).close()

        with ThreadPoolExecutor(4) as pool:
            for future in [pool.submit(open_one) for _ in range(4)]:
                future.result()
