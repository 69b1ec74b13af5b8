"""What a person is told when no registry is there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamproc.errors import StreamprocError
from streamproc.kafka.registry import Registry
from tests.servers import free_port


@pytest.mark.parametrize(
    "ask", [lambda it: it.register("alert", "x.alerts"), lambda it: it.lookup(5)]
)
def test_a_registry_that_does_not_answer_is_named_with_the_remedy(
    ask: Callable[[Registry], object],
) -> None:
    """One line says which address was silent and what to do, and keeps the password to itself."""
    port = free_port()

    with (
        Registry(f"http://me:secret@127.0.0.1:{port}") as absent,
        pytest.raises(StreamprocError) as caught,
    ):
        ask(absent)

    told = str(caught.value)
    assert f"http://127.0.0.1:{port}" in told
    assert "unset STREAMPROC_REGISTRY" in told
    assert "secret" not in told
    assert "\n" not in told


@pytest.mark.parametrize("url", ["ftp://host", "nonsense", "http://[", ""])
def test_an_address_that_is_none_is_told_before_anything_connects(url: str) -> None:
    """A mistyped address fails at once, with the form that it should have."""
    with pytest.raises(StreamprocError, match="http://host:port"):
        Registry(url)
