"""The front door: help, versions, mistakes and exit codes, without a broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamproc.cli import COMMANDS, SEEDED
from tests.commands import WIDTH, Running, run, widest
from tests.servers import ROOT

GOOD = """
from river import linear_model
from streamproc import Events, Field, Labels, Pipeline

pipeline = Pipeline(
    name="cards",
    events=Events("cards.events", id="id", key="card", time="at"),
    labels=Labels("cards.labels", id="id", value="fraud"),
    features=[Field("amount")],
    model=linear_model.LogisticRegression(),
)
"""


def test_help_lists_every_command_and_loads_none(tmp_path: Path) -> None:
    """`--help` names all commands, and is quick: what takes long to import is left out."""
    done = run(tmp_path, "--help")
    assert done.code == 0
    assert all(f"  {name} " in done.out for name in COMMANDS)
    assert "..." not in done.out.partition("Commands:")[2]  # no description is cut off
    assert widest(done.out) <= WIDTH
    script = "import sys; from streamproc import cli; cli.run(['--help']); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.split()
    assert "typer" in loaded
    assert not {"river", "numpy", "faust", "confluent_kafka", "rich.progress"} & set(loaded)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_how_it_is_used(tmp_path: Path, command: str) -> None:
    """`COMMAND --help` fits the terminal and describes every option."""
    done = run(tmp_path, command, "--help", tty=True)
    assert done.code == 0, done
    assert done.out.startswith(f"Usage: streamproc {command} ")
    assert widest(done.out) <= WIDTH


def test_the_version_is_told(tmp_path: Path) -> None:
    """`--version` prints the program's name and one version."""
    done = run(tmp_path, "--version")
    assert (done.code, done.err, done.out.count("\n")) == (0, "", 1)
    assert done.out.startswith("streamproc")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["chekc"], "No such command 'chekc'"),
        (["check", "--colour"], "No such option"),
        (["topics", "--partitions", "many"], "'--partitions': Input should be a valid integer"),
        (["watch"], "Missing argument"),
        (["watch", "weather"], "'weather' is not one of"),
        (["backtest"], "Missing argument"),
        (["check"], "which pipeline? name its file, or set STREAMPROC_PIPELINE"),
        (["worker"], "which pipeline?"),
        (["check", "none.py"], "none.py: no such file"),
        (["check", "empty.py"], "empty.py: defines no `pipeline = Pipeline(...)`"),
        (["check", "broken.py"], "broken.py, line 2: not valid Python"),
        (["check", "raises.py"], "raises.py, line 2: ZeroDivisionError"),
        (["check", "wrong.py"], "wrong.py: Field('amount'): type 'money' is not known"),
        (["backtest", "good.py", "none.csv"], "none.csv: no such file"),
        (["backtest", "good.py", "rows.csv", "--start", "1996-05-07"], "give both"),
        (["backtest", "good.py", "rows.csv", "--out", "x.csv"], "must end in .parquet"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    """What the user gave wrongly is told on standard error, with nothing on standard output."""
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "rows.csv").write_text("id,card,at,amount\n1,7,2018-04-01T00:00:00Z,1.5\n")
    (tmp_path / "empty.py").write_text("x = 1\n")
    (tmp_path / "broken.py").write_text("x = 1\ny = (\n")
    (tmp_path / "raises.py").write_text("x = 1\ny = x / 0\n")
    (tmp_path / "wrong.py").write_text(GOOD.replace('"amount"', '"amount", type="money"'))
    done = run(tmp_path, *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert done.err.startswith("streamproc: ")
    assert done.err.count("\n") == 1


def test_a_setting_that_does_not_fit_names_its_variable(tmp_path: Path) -> None:
    """A mistake in the environment is a mistake of the user's, too."""
    (tmp_path / "good.py").write_text(GOOD)
    done = run(tmp_path, "check", "good.py", env={"STREAMPROC_BROKERS": "localhost"})
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("streamproc: STREAMPROC_BROKERS: ")


def test_the_pipeline_may_come_from_the_environment(tmp_path: Path) -> None:
    """STREAMPROC_PIPELINE stands in for the argument."""
    (tmp_path / "good.py").write_text(GOOD)
    done = run(tmp_path, "check", "--json", env={"STREAMPROC_PIPELINE": "good.py"})
    assert json.loads(done.out)["name"] == "cards"


def test_a_fault_of_our_own_is_one_line(tmp_path: Path) -> None:
    """What nobody foresaw has no stack trace either, and says where it was."""
    odd = GOOD.replace(
        "pipeline = Pipeline(",
        "class Odd(Pipeline):\n    fingerprint = property(lambda self: 1 / 0)\npipeline = Odd(",
    )
    (tmp_path / "odd.py").write_text(odd)
    done = run(tmp_path, "check", "odd.py")
    assert done.code == 1
    assert done.err.startswith("streamproc: unexpected ")
    assert "please report it" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("command", SEEDED)
def test_hashes_are_fixed_in_the_process_that_was_started(tmp_path: Path, command: str) -> None:
    """The process starts anew with PYTHONHASHSEED=0 and keeps its id, which signals go to."""
    (tmp_path / "tells.py").write_text(
        "import os, pathlib\n"
        "pathlib.Path('told').write_text(f\"{os.getpid()} {os.environ['PYTHONHASHSEED']}\")\n"
    )
    (tmp_path / "rows.csv").write_text("id\n1\n")
    line = {"backtest": ("tells.py", "rows.csv"), "explain": ("an-id", "tells.py")}
    with Running(tmp_path, command, *line.get(command, ("tells.py",))) as it:
        assert it.done().code == 2
        assert f"{it.process.pid} 0" == (tmp_path / "told").read_text()


def test_ctrl_c_while_starting_is_silent(tmp_path: Path) -> None:
    """A pipeline file that takes long is given up without a word."""
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\npathlib.Path('there').touch()\ntime.sleep(60)\n"
    )
    with Running(tmp_path, "check", "slow.py") as it:
        it.until((tmp_path / "there").exists)
        done = it.interrupt()
    assert (done.code, done.out, done.err) == (130, "", "")


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path) -> None:
    """Where the output's pipe is closed the command ends, with no complaint."""
    (tmp_path / "good.py").write_text(GOOD)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "streamproc.cli", "check", "good.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
