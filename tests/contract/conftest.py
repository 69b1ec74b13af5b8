"""What the contract suites say at the end of a run: which of River's models ran, and which not."""

from __future__ import annotations

import textwrap

import pytest

from tests.contract.river_models import RAN, left_out


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List each model that ran, by kind, and each that was left out, by reason."""
    ran = terminalreporter.config.stash.get(RAN, {})
    if not ran:
        return
    out = left_out()
    terminalreporter.section(f"River's models: {len(ran)} ran")
    _list(terminalreporter, ran)
    terminalreporter.section(f"River's other estimators: {len(out)} left out")
    _list(terminalreporter, out)


def _list(reporter: pytest.TerminalReporter, names: dict[str, str]) -> None:
    for why in sorted(set(names.values())):
        listed = sorted(name.removeprefix("river.") for name in names if names[name] == why)
        reporter.line(f"{len(listed)}: {why}")
        text = ", ".join(listed)
        for line in textwrap.wrap(text, 77, break_long_words=False, break_on_hyphens=False):
            reporter.line(f"  {line}")
