"""Rankings: how good the order is that scores give the items of one group, such as a session's.

nDCG@k (Järvelin and Kekäläinen 2002): the gains of the first k items, each over log2(1 + its
place), by what the best order would have had. Items of one score are taken in the worst order, so
that a model that says the same of all gains nothing by it.

A group may be spread over partitions, so its items are kept until the bucket is sealed; of each
group only those among its k highest scores or k highest gains, which is all that nDCG@k needs, and
of each bucket only `MOST_GROUPS` groups, by the hash of their names: a sample that is the same
however records were spread. A group whose labels come in two buckets counts as two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import isfinite, log2
from typing import Any

MOST_GROUPS = 256
"""How many groups of a bucket are looked at."""

GAIN_STEPS = float(1 << 20)

Groups = dict[str, dict[str, Any]]
"""By the hash of a group's name: how many items it has, their gains in steps, and the top ones."""


def groups_of(items: Sequence[tuple[str, float, float]], k: int) -> Groups:
    """Return the groups of items, each a group's name, a score and a gain.

    What is no finite number is left out; a gain below 0 counts as none.

    >>> groups_of([("s1", 0.9, 1.0), ("s1", 0.2, 0.0)], k=10)
    {'89a147da21bb2954': {'n': 2, 'gain': 1048576, 'top': [[0.9, 1048576], [0.2, 0]]}}
    """
    groups: Groups = {}
    for name, score, gain in items:
        if not (isfinite(score) and isfinite(gain)):
            continue
        steps = round(min(max(gain, 0.0), 1e9) * GAIN_STEPS)
        group = groups.setdefault(_hash(name), {"n": 0, "gain": 0, "top": []})
        group["n"] += 1
        group["gain"] += steps
        group["top"].append([score, steps])
    for group in groups.values():
        group["top"] = _top(group["top"], k)
    return _sample(groups)


def merge_groups(a: Groups, b: Groups, k: int) -> Groups:
    """Return what both have seen."""
    groups = dict(a)
    for name, more in b.items():
        known = groups.get(name)
        groups[name] = more if known is None else _merge(known, more, k)
    return _sample(groups)


def ranking_of(groups: Groups, k: int) -> tuple[list[float], list[float]]:
    """Return the number of groups and the sum of their nDCG@k, and the same of a random order.

    A group that has no gain has no best order, and is left out.

    >>> ranked, random = ranking_of(groups_of([("s", 0.1, 1.0), ("s", 0.2, 0.0)], k=10), k=10)
    >>> round(ranked[1], 4), round(random[1], 4)
    (0.6309, 0.8155)
    """
    n, total, random = 0, 0.0, 0.0
    for name in sorted(groups):
        group = groups[name]
        best = _gained(sorted((gain for _, gain in group["top"]), reverse=True)[:k])
        if not best:
            continue
        said = sorted(group["top"], key=lambda item: (-item[0], item[1]))[:k]
        n += 1
        total += _gained([gain for _, gain in said]) / best
        each = group["gain"] / group["n"]
        random += _gained([each] * min(k, group["n"])) / best
    return [n, total], [n, random]


def _gained(gains: Sequence[float]) -> float:
    return sum(gain / log2(place) for place, gain in enumerate(gains, start=2))


def _merge(a: Mapping[str, Any], b: Mapping[str, Any], k: int) -> dict[str, Any]:
    return {
        "n": a["n"] + b["n"],
        "gain": a["gain"] + b["gain"],
        "top": _top([*a["top"], *b["top"]], k),
    }


def _top(items: list[list[float]], k: int) -> list[list[float]]:
    """Return the items that are among the k highest scores, worst first of equals, or gains."""
    if len(items) <= k:
        return sorted(items, key=lambda item: (-item[0], item[1]))
    by_score = sorted(items, key=lambda item: (-item[0], item[1]))
    rest = sorted(by_score[k:], key=lambda item: (-item[1], -item[0]))
    return [*by_score[:k], *rest[:k]]


def _sample(groups: Groups) -> Groups:
    return {name: groups[name] for name in sorted(groups)[:MOST_GROUPS]}


def _hash(name: str) -> str:
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
