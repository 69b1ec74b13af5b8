"""The code that a model version names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from streamproc.models import lineage


def test_another_line_of_code_is_another_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is another name of a file; the same files elsewhere are the same."""
    found = []
    for name, change in (("a", ""), ("b", ""), ("c", "# more")):
        folder = tmp_path / name
        shutil.copytree(Path(lineage.__file__).parent, folder / "models")
        with (folder / "models" / "seeds.py").open("a") as file:
            file.write(change)
        monkeypatch.setattr(lineage, "_PACKAGE", folder)
        found.append(lineage._digest())
    (tmp_path / "c" / "models" / "seeds.py").rename(tmp_path / "c" / "models" / "zeeds.py")
    found.append(lineage._digest())
    assert found[0] == found[1]
    assert len(set(found)) == 3
