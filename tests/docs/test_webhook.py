"""Whoever copies the receiver's check from the documentation takes what we post, and that only."""

from __future__ import annotations

import time
from typing import Any

import pytest

from streamproc.notify.outbox import News
from streamproc.notify.webhook import Webhook
from tests.alert_steps import step
from tests.docs.pages import OPERATING, blocks


@pytest.fixture
def is_ours() -> Any:
    """Return the function of the page."""
    (code,) = [block for block in blocks(OPERATING, "python") if "def is_ours" in block]
    named: dict[str, Any] = {}
    exec(code, named)
    return named["is_ours"]


def test_the_check_takes_what_we_post_and_nothing_else(is_ours: Any) -> None:
    """Neither another body, nor another secret, nor what was posted an hour ago."""
    now_ms = time.time_ns() // 1_000_000
    news, sink = [News(step(), None, 0, 0, 0)], Webhook("payments", "open sesame")
    body, headers = sink.request(news, now_ms)
    old_body, old_headers = sink.request(news, now_ms - 3_600_000)

    assert is_ours("open sesame", headers, body)
    assert not is_ours("open sesame", headers, body + b" ")
    assert not is_ours("open says me", headers, body)
    assert not is_ours("open sesame", old_headers, old_body)
    moved = {**old_headers, "X-Streamproc-Timestamp": headers["X-Streamproc-Timestamp"]}
    assert not is_ours("open sesame", moved, old_body)
