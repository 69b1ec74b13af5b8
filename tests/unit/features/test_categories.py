"""Encoders of categories and texts: vocabulary, hashes, words, and how much they remember."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest

from streamproc.errors import BadRecord, DefinitionError
from streamproc.features import FeatureSet, Hashed, HashedWords, OneHot
from streamproc.features.categories import TEXT_READ
from streamproc.features.hashing import HashedColumns
from tests.servers import ROOT


def encoded(spec: Any, value: Any) -> dict[str, Any]:
    """Return the features of an event whose field ``x`` has a value, those that are not 0."""
    found = FeatureSet([spec], "at", 0).compute({"x": value}, "1", "k", 0)
    assert list(spec.names) == list(found)
    return {name: value for name, value in found.items() if value != 0}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("NL", {"x_is_NL": 1}),
        ("DE", {"x_is_DE": 1}),
        ("BE", {"x_is_other": 1}),
        ("nl", {"x_is_other": 1}),
        ("", {"x_is_other": 1}),
        (5411, {"x_is_5411": 1}),
        ("5411", {"x_is_5411": 1}),
        (5411.0, {"x_is_5411": 1}),
        (5411.5, {"x_is_other": 1}),
        (True, {"x_is_true": 1}),
        ("x" * 1_000_000, {"x_is_other": 1}),
        (None, {}),
    ],
)
def test_one_column_is_hot(value: object, expected: dict[str, int]) -> None:
    """That of the value, whatever its type; that of the others; none for null."""
    assert expected == encoded(OneHot("x", ("NL", "DE", 5411, True)), value)


@pytest.mark.parametrize("spec", [OneHot("x", ("a",)), Hashed("x", 4), HashedWords("x", 4)])
@pytest.mark.parametrize("value", [[], ["a"], {}, {"a": 1}, float("nan"), float("inf")])
def test_what_is_no_category_is_refused(spec: Any, value: object) -> None:
    """An array, an object and what is no number make the event a dead letter that names it."""
    with pytest.raises(BadRecord, match="'x'") as refused:
        encoded(spec, value)
    assert refused.value.reason == "field_not_category"


def test_a_hash_is_the_same_everywhere() -> None:
    """Columns and signs are these in every process, whatever its hash seed."""
    columns = HashedColumns([f"{n}" for n in range(64)])
    expected = [columns.place(text) for text in ("Amsterdam", "5411", "", "é", "\ud800")]
    assert expected[:4] == [("26", 1), ("11", 1), ("23", -1), ("11", 1)]
    code = (
        "from streamproc.features.hashing import HashedColumns as H; "
        "print([H([str(n) for n in range(64)]).place(t) for t in "
        "('Amsterdam', '5411', '', '\\xe9', '\\ud800')])"
    )
    for seed in ("1", "2"):
        said = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout  # fmt: skip
        assert said.strip() == str(expected)


def test_hashes_spread_and_cancel() -> None:
    """Ten thousand categories fill 16 columns alike, half of each with either sign."""
    columns = HashedColumns([f"{n}" for n in range(16)])
    placed = Counter(columns.place(f"category {n}") for n in range(10_000))
    assert len(placed) == 32
    expected = 10_000 / 32
    surprise = sum((count - expected) ** 2 / expected for count in placed.values())
    assert surprise < 61.1  # chi-square, 31 degrees of freedom, one in a thousand


def test_a_category_has_one_column_and_null_has_none() -> None:
    """A code is the same as a number and as text."""
    spec = Hashed("x", 64)
    assert len(encoded(spec, "Amsterdam")) == 1
    assert encoded(spec, 5411) == encoded(spec, "5411") == encoded(spec, 5411.0)
    assert encoded(spec, None) == {}


@pytest.mark.parametrize("values", [1, 20, 64, 500, 5_000])
def test_how_many_share_a_column_is_estimated(values: int) -> None:
    """Within some percent of the truth, whatever the order and however often each comes."""
    rng = random.Random(values)
    features = FeatureSet([Hashed("x", 64)], "at", 0)
    columns = Counter[str]()
    for number in range(values):
        found = features.compute({"x": f"shop {number}"}, "1", "k", 0)
        columns.update(name for name, value in found.items() if value)
    for _ in range(1_000):
        features.compute({"x": f"shop {rng.randrange(values)}"}, "1", "k", 0)
    sharing = sum(count for count in columns.values() if count > 1)
    told = features.hashing["x_hash"]
    assert told.buckets == 64
    assert told.values == pytest.approx(values, rel=0.03)
    assert told.sharing == pytest.approx(sharing, rel=0.03, abs=2)


def test_a_million_categories_take_no_more_memory_than_twenty_thousand() -> None:
    """What is remembered of categories has a bound, and the counts go no further than theirs."""
    columns = HashedColumns(["0", "1"])
    for number in range(60_000):
        columns.place(str(number))
        assert len(columns._cache) <= 20_000
    columns.place("x" * 1_000_000)
    assert max(map(len, columns._cache)) <= 100
    assert columns.occupancy.values <= 2 * 1_420
    assert all(marks.bit_length() <= 256 for marks in columns._marks)


def reference(text: str, ngrams: tuple[int, ...], buckets: int) -> dict[str, int]:
    """Return the signed counts of a text's terms, the long way."""
    columns = HashedColumns([f"x_words_{n}" for n in range(buckets)])
    cleaned = "".join(each if each.isalnum() or each == "_" else " " for each in text.lower())
    words = cleaned.split()
    found: dict[str, int] = {}
    for size in ngrams:
        for at in range(len(words)):
            if at + size <= len(words):
                name, sign = columns.place(" ".join(words[at : at + size]))
                found[name] = found.get(name, 0) + sign
    return {name: count for name, count in found.items() if count}


@pytest.mark.parametrize("ngrams", [(1,), (2,), (1, 2), (1, 3)])
@pytest.mark.parametrize(
    "text", ["", "one", "One, two; THREE: two one.", "l'été à la plage - 2 x 3", "a a a a", "..!"]
)
def test_words_are_counted_by_their_hash(text: str, ngrams: tuple[int, ...]) -> None:
    """Words and runs of words, in lower case, whatever stands between them."""
    assert reference(text, ngrams, 32) == encoded(HashedWords("x", 32, ngrams), text)


def test_words_may_be_numbers_and_null_has_none() -> None:
    """A text that a CSV file made a number is the text again."""
    spec = HashedWords("x", 16)
    assert encoded(spec, 5411) == encoded(spec, "5411") != {}
    assert encoded(spec, True) == encoded(spec, "TRUE")
    assert encoded(spec, None) == {}


def test_a_text_of_a_million_characters_takes_milliseconds() -> None:
    """Its first 20,000 characters are read, in words of one letter too."""
    spec = HashedWords("x", 64, (1, 2, 3, 4, 5))
    text = "a b c d " * 130_000
    began_s = time.process_time()
    found = encoded(spec, text)
    assert time.process_time() - began_s < 1.0
    assert encoded(spec, text[:TEXT_READ]) == found != encoded(spec, text[: TEXT_READ // 2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OneHot("x", ()), "values must list 1 to 1,000 categories, such as"),
        (lambda: OneHot("x", tuple(range(1_001))), "values must list 1 to 1,000 .* use Hashed"),
        (lambda: OneHot("x", ("a", "a")), "'a' is listed twice; remove one"),
        (lambda: OneHot("x", (1, "1")), "'1' is listed twice; remove one"),
        (lambda: OneHot("x", ("a", "other")), "'other' is the column of all that is not listed"),
        (lambda: OneHot("x", (None,)), "None is no category; write text or a code"),  # type: ignore[arg-type]
        (lambda: OneHot("", ("a",)), "OneHot: '' is no name; write OneHot"),
        (lambda: Hashed("x", 0), "buckets must be a whole number from 1 to 4,096, not 0; each is"),
        (lambda: Hashed("x", 4_097), "buckets must be a whole number from 1 to 4,096"),
        (lambda: Hashed("x", True), "buckets must be a whole number from 1 to 4,096"),
        (lambda: Hashed("x", 8.0), "buckets must be a whole number from 1 to 4,096"),  # type: ignore[arg-type]
        (lambda: HashedWords("x", -1), "buckets must be a whole number from 1 to 4,096"),
        (lambda: HashedWords("x", 8, ()), "ngrams must be different whole numbers from 1 to 5"),
        (lambda: HashedWords("x", 8, (0,)), "ngrams must be different whole numbers from 1 to 5"),
        (lambda: HashedWords("x", 8, (6,)), "ngrams must be different whole numbers from 1 to 5"),
        (lambda: HashedWords("x", 8, (1, 1)), "ngrams must be different whole numbers from 1"),
        (lambda: HashedWords("x", 8, ("1",)), "ngrams must be different whole numbers from 1"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_a_declaration_that_cannot_be_names_the_remedy(make: Any, message: str) -> None:
    """What is wrong is told where it is written, with what to write."""
    with pytest.raises(DefinitionError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_one_value_may_be_written_without_a_tuple() -> None:
    """A lone text is one value, not its letters."""
    assert OneHot("x", "NL").names == ("x_is_NL", "x_is_other")  # type: ignore[arg-type]
    assert HashedWords("x", 1, 2).ngrams == (2,)  # type: ignore[arg-type]
