"""Tests that run side by side share the processor instead of each taking all of it."""

from __future__ import annotations

import os

import pytest

workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if workers > 1:
    threads = max(1, (os.cpu_count() or 1) // workers)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests begin first, so that no worker is left alone with them."""
    items.sort(key=lambda item: "parity" not in item.nodeid)
