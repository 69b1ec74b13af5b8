"""The catalogue: what each feature is made of, for how long, and whose it is."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from river import linear_model

from streamproc import (
    Calendar,
    Cyclical,
    DefinitionError,
    Events,
    Field,
    Imputed,
    Labels,
    LabelWindow,
    Log,
    Pipeline,
    Ratio,
    Shared,
    Window,
)
from streamproc.catalogue import catalogue

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
MEAN = "amount_mean_1d_by_card"
SPENDING = Shared(
    [Window("amount", by="card", over=("1d", "7d"), aggregates=("mean",)), Ratio("tip", MEAN)],
    owner="risk",
    description="What a card spends",
)


def pipeline(*features: Any, **more: Any) -> Pipeline:
    """Return a pipeline with these features."""
    given: dict[str, Any] = {
        "name": "shop",
        "events": Events("orders", id="id", key="card", time="at"),
        "features": features,
        "model": linear_model.LogisticRegression(),
    }
    return Pipeline(**{**given, **more})


def test_each_feature_says_what_it_is_made_of() -> None:
    """Fields of the event all the way down, features read, entity, span and expiry."""
    chosen = pipeline(
        *(Field("note", type="text"), Calendar("at", ("hour",)), Cyclical("at", ("hour",))),
        *(SPENDING, Log(f"tip_per_{MEAN}"), Imputed("tip", 0)),
        lateness="2h",
    )
    found = catalogue(chosen)
    assert tuple(each.name for each in found) == chosen.feature_names
    told = {
        each.name: (each.kind, each.type, each.fields, each.reads, each.by) for each in found
    }  # fmt: skip
    assert told == {
        "note": ("Field", "text", ("note",), (), ()),
        "hour": ("Calendar", "number", ("at",), (), ()),
        "hour_sin": ("Cyclical", "number", ("at",), (), ()),
        "hour_cos": ("Cyclical", "number", ("at",), (), ()),
        MEAN: ("Window", "number", ("amount",), (), ("card",)),
        "amount_mean_7d_by_card": ("Window", "number", ("amount",), (), ("card",)),
        f"tip_per_{MEAN}": ("Ratio", "number", ("tip", "amount"), (MEAN,), ("card",)),
        f"tip_per_{MEAN}_log": (
            "Log", "number", ("tip", "amount"), (f"tip_per_{MEAN}",), ("card",),
        ),
        "tip_imputed": ("Imputed", "number", ("tip",), (), ()),
    }  # fmt: skip
    kept = {each.name: (each.span, each.expires_after_ms) for each in found if each.span}
    week_ms = 7 * DAY_MS + 2 * HOUR_MS
    assert kept == {MEAN: ("1d", week_ms), "amount_mean_7d_by_card": ("7d", week_ms)}
    owned = [each.name for each in found if each.owner == "risk"]
    assert owned == [MEAN, "amount_mean_7d_by_card", f"tip_per_{MEAN}"]
    assert {each.description for each in found if each.owner} == {"What a card spends"}


def test_windows_that_hop_say_how_often() -> None:
    """The span alone would be that of a sliding one."""
    chosen = pipeline(
        Window("amount", by="card", over=("1d", "7d"), aggregates=("sum", "mean"), every="1d")
    )
    assert [each.span for each in catalogue(chosen)] == ["1d every 1d"] * 2 + ["7d every 1d"] * 2


def test_shared_features_are_computed_as_if_they_stood_there() -> None:
    """In their place and order, with the same fingerprint, whoever owns them."""
    shared = pipeline(Field("amount"), SPENDING, Log("amount"))
    plain = pipeline(Field("amount"), *SPENDING.features, Log("amount"))
    other = pipeline(Field("amount"), replace(SPENDING, owner="fraud"), Log("amount"))
    assert shared.features == plain.features == other.features
    assert shared.fingerprint == plain.fingerprint == other.fingerprint
    assert shared.learns_what == other.learns_what
    assert pipeline(SPENDING).new_features().compute({"amount": 2, "tip": 1}, "1", "c", 0) == {
        MEAN: 2.0,
        "amount_mean_7d_by_card": 2.0,
        f"tip_per_{MEAN}": 0.5,
    }


def test_state_is_kept_as_long_as_those_who_share_it_need() -> None:
    """Windows of one value and entity share a log; growth looks at the span before, too."""
    found = catalogue(
        pipeline(
            Window("amount", by="card", over=("1d",), aggregates=("mean",)),
            Window("amount", by="card", over=("7d",), aggregates=("mean",)),
            Window("tip", by="card", over=("7d",), aggregates=("growth",)),
            LabelWindow(by="card", over=("1d",), aggregates=("count",)),
            LabelWindow(by="card", over=("3d",), aggregates=("count",)),
            labels=Labels("labels", id="id", value="fraud"),
        )
    )
    kept_days = [((each.expires_after_ms or 0) - HOUR_MS) / DAY_MS for each in found]
    assert kept_days == [7, 7, 14, 3, 3]


def test_a_version_goes_with_a_name_and_a_definition() -> None:
    """Every feature of it says which; the definition changes with a feature, and nothing else."""
    spending = replace(SPENDING, name="spending", version=2)
    found = catalogue(pipeline(Field("amount"), spending))
    assert [(each.shared, each.version) for each in found] == [("", None)] + [("spending", 2)] * 3
    told = {each.definition for each in found}
    assert told == {None, spending.definition}
    same = replace(spending, name="other", version=3, owner="fraud", description="")
    assert same.definition == spending.definition
    assert replace(spending, features=spending.features[:1]).definition != spending.definition
    assert catalogue(pipeline(SPENDING))[0].definition is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shared(["amount"]), "Shared: features holds 'amount'; use Field"),  # type: ignore[list-item]
        (lambda: Shared([SPENDING]), "Shared: features holds Shared.*; use Field"),  # type: ignore[list-item]
        (lambda: Shared([Field("x")], owner="a\nb"), "Shared: owner must be one line of text"),
        (lambda: Shared([Field("x")], description=5), "Shared: description must be one line"),  # type: ignore[arg-type]
        (lambda: Shared([Field("x")], name=5), "Shared: name must be one line"),  # type: ignore[arg-type]
        (lambda: Shared([Field("x")], name="a", version=0), "version must be a whole number from"),
        (lambda: Shared([Field("x")], name="a", version="2"), "version must be a whole number"),  # type: ignore[arg-type]
        (lambda: Shared([Field("x")], version=2), "Shared: version=2 of what. give it a name"),
        (
            lambda: pipeline(
                Shared([Field("x")], name="a"), Shared([Field("y")], name="a", version=2)
            ),
            "Shared: 'a' is there twice, as version 1 and as version 2; take one, or give one",
        ),
        (lambda: pipeline(SPENDING, SPENDING), "is declared twice; remove one"),
        (lambda: pipeline(Log(MEAN), SPENDING), "is declared after it; move it before"),
    ],
)  # fmt: skip
def test_a_declaration_that_cannot_be_names_the_remedy(make: Any, message: str) -> None:
    """As for features that stand by themselves."""
    with pytest.raises(DefinitionError, match=message):
        make()


FILE = """
import wave
from river import linear_model
from streamproc import Events, Field, Pipeline
from {module} import spending

pipeline = Pipeline(name="{name}", events=Events("e", id="i", key="card", time="t"),
                    features=[Field("x"), spending], model=linear_model.LogisticRegression())
"""


def test_two_pipelines_import_one_module_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defined once; a module beside the file hides none that is installed."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    (tmp_path / "spending_of_cards.py").write_text(
        "from streamproc import Shared, Window\n"
        "spending = Shared([Window('amount', 'card', '1d', 'mean')], owner='risk')\n"
    )
    (tmp_path / "wave.py").write_text("raise RuntimeError('hides the one that is installed')\n")
    for name in ("one", "two"):
        text = FILE.format(name=name, module="spending_of_cards")
        (tmp_path / f"{name}.py").write_text(text)
    one, two = (Pipeline.load(tmp_path / f"{name}.py") for name in ("one", "two"))
    assert one.shared[0] is two.shared[0]
    assert ("x", MEAN) == one.feature_names == two.feature_names
