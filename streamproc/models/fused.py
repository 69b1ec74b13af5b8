"""The commonest online models without River's overhead, equal to River in every bit.

They are ``LogisticRegression`` and ``LinearRegression``, trained by plain ``SGD`` or ``AdaGrad``;
before them a ``StandardScaler``, and before that a ``Discard`` or ``Select``, where there is one.
River walks the features six times an outcome, from dictionary to dictionary; here it is two or
three times, by the same floating-point operations in the same order. The state comes out of
River's objects and goes back into them, so what is stored stays an ordinary River model. What is
unusual is left to River, with nothing changed before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import exp, isfinite
from operator import itemgetter
from typing import Any

from river import compose, optim

from streamproc.messages import Features
from streamproc.models.kinds import Kind
from streamproc.models.parts import Parts, parts_of

Score = Callable[[Features], Any]


_UNUSUAL = (ArithmeticError, KeyError, TypeError)
"""What Python raises for a feature that is too large, new, or no number."""

Pick = Callable[[Features], Iterable[Any]]
"""What takes the values that a model looks at out of an event's features."""


class _Layouts(dict[tuple[str, ...], tuple[Pick, list[Any]]]):
    """How to pick a model's features, and what is known of each, by the names of all given.

    ``KeyError`` where none is picked, or one that is new.
    """

    def __init__(self, known: dict[str, Any], chooser: Any) -> None:
        self.known = known
        self.chooser = chooser

    def __missing__(self, names: tuple[str, ...]) -> tuple[Pick, list[Any]]:
        pick, picked = _picked(names, self.chooser)
        if not picked:  # River's pipeline may have made no plan yet, see ``_cells``
            raise KeyError(names)
        layout = pick, [self.known[name] for name in picked]
        if len(self) >= 256:  # as many as there are sets of null features, but not without end
            self.clear()
        self[names] = layout
        return layout


def _picked(names: tuple[str, ...], chooser: Any) -> tuple[Pick, tuple[str, ...]]:
    """Return what picks the features that a chooser leaves, and their names, in its order."""
    if chooser is None:
        return dict.values, names
    keys: Any = chooser.keys
    if type(chooser) is compose.Select:
        picked: tuple[str, ...] = tuple(keys)
    else:
        picked = tuple(name for name in names if name not in keys)
    if len(picked) > 1:
        many: Pick = itemgetter(*picked)
        return many, picked
    return lambda features: [features[name] for name in picked], picked


class FusedLearner:
    """Learns as River's model does; it is behind until :meth:`give_back`.

    >>> from river import linear_model
    >>> model = linear_model.LogisticRegression()
    >>> model.learn_one({"amount": 3.0}, True)
    >>> fused = FusedLearner(parts_of(model, "binary"))
    >>> fused.learn({"amount": 5}, False), fused.learn({"new": 5}, False)
    (True, False)
    >>> fused.give_back()
    >>> model.optimizer.n_iterations
    2
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        linear = parts.linear
        # Count, mean, variance, weight and sum of squares of each feature, changed in place.
        self._cells = {name: list(cell) for name, *cell in _cells(parts)}
        self._layouts = _Layouts(self._cells, parts.chooser)
        self._look = _look if parts.scaler is None else _look_scaled
        logistic = type(linear.loss) is optim.losses.Log
        self._gradient = _log_gradient if logistic else _squared_gradient(linear.clip_gradient)
        self._step = _step_of(linear.optimizer)
        self._intercept_rate = linear.intercept_lr.learning_rate
        self._intercept = linear.intercept
        self._learnt = 0

    def learn(self, features: Features, target: Any) -> bool:
        """Learn from features, none of them null, and a target; say whether it was done.

        Where not, River is to do it: a feature is new, no number or not finite. Raises nothing.
        """
        try:
            pick, cells = self._layouts[tuple(features)]
            total, after = self._look(pick(features), cells)
            raw = total + self._intercept
            # River is to make NaN, whose sign depends on where it comes from. Complex numbers,
            # and those of numpy, are no floats.
            if type(raw) is not float or not isfinite(raw):
                return False
            gradient = self._gradient(raw, target)
            self._step(cells, after, gradient)
        except _UNUSUAL:
            return False
        self._intercept -= self._intercept_rate * gradient
        self._learnt += 1
        return True

    def give_back(self) -> None:
        """Put what was learnt into River's model."""
        _, _, scaler, linear = self._parts
        adaptive = type(linear.optimizer) is optim.AdaGrad
        for name, (count, mean, variance, weight, squares) in self._cells.items():
            if scaler is not None:
                scaler.counts[name] = count
                scaler.means[name] = mean
                scaler.vars[name] = variance
            linear._weights[name] = weight
            if adaptive:
                linear.optimizer.g2[name] = squares
        linear.intercept = self._intercept
        linear.optimizer.n_iterations += self._learnt
        self._learnt = 0


def _cells(parts: Parts) -> Iterable[tuple[str, int, float, float, float, float]]:
    """Yield what every part of a model knows, as ``FusedLearner`` keeps it, by name."""
    pipeline, _, scaler, linear = parts
    if pipeline is not None and pipeline._plan is None:
        return  # it makes a plan of its steps at the first outcome, and stores it
    adaptive = type(linear.optimizer) is optim.AdaGrad
    for name, weight in linear._weights.items():
        if scaler is None:
            known: tuple[Any, ...] = (0, 0.0, 0.0)
        elif name in scaler.counts and name in scaler.means and name in scaler.vars:
            known = (scaler.counts[name], scaler.means[name], scaler.vars[name])
        else:
            continue
        squares = linear.optimizer.g2.get(name) if adaptive else 0.0
        if tuple(map(type, (*known, weight, squares))) == (int, float, float, float, float):
            yield (name, *known, weight, squares)


def _look(values: Iterable[Any], cells: list[Any]) -> tuple[Any, list[Any]]:
    """Return the dot product, and what is known of each feature after it."""
    total = 0.0
    after = []
    for value, (count, mean, variance, weight, _) in zip(values, cells, strict=True):
        total += value * weight
        after.append((count, mean, variance, weight, value))
    return total, after


def _look_scaled(values: Iterable[Any], cells: list[Any]) -> tuple[Any, list[Any]]:
    """Return the dot product of scaled features, and what is known of each after it."""
    total = 0.0
    after = []
    for value, (count, mean, variance, weight, _) in zip(values, cells, strict=True):
        count += 1
        off_before = value - mean
        mean += off_before / count
        off = value - mean
        variance += (off_before * off - variance) / count
        # ``** 0.5`` as River has it: ``sqrt`` may round otherwise.
        scaled = off / variance**0.5 if variance else 0.0
        total += scaled * weight
        after.append((count, mean, variance, weight, scaled))
    return total, after


Step = Callable[[list[Any], list[Any], float], None]
"""Changes the cells of the features, given what is known of each after it and the gradient."""


def _step_of(optimizer: Any) -> Step:
    rate = optimizer.lr.learning_rate
    if type(optimizer) is optim.AdaGrad:
        return _adaptive_step(rate, optimizer.eps)

    def step(cells: list[Any], after: list[Any], gradient: float) -> None:
        for cell, (count, mean, variance, weight, scaled) in zip(cells, after, strict=True):
            cell[0], cell[1], cell[2] = count, mean, variance
            cell[3] = weight - rate * (scaled * gradient)

    return step


def _adaptive_step(rate: float, eps: float) -> Step:
    """Return what steps as AdaGrad does; it may fail, and has changed nothing then."""

    def step(cells: list[Any], after: list[Any], gradient: float) -> None:
        changed = []
        for cell, (count, mean, variance, weight, scaled) in zip(cells, after, strict=True):
            slope = scaled * gradient
            squares = cell[4] + slope**2  # not a product, which doesn't fail where this does
            weight -= rate / (squares + eps) ** 0.5 * slope
            changed.append((count, mean, variance, weight, squares))
        for cell, each in zip(cells, changed, strict=True):
            cell[:] = each

    return step


def _log_gradient(raw: float, target: bool) -> float:
    z = raw if target else -raw
    size = exp(-z) if z > 18.0 else 1.0 if z < -18.0 else 1.0 / (exp(z) + 1.0)
    return -size if target else size


def _squared_gradient(clip: float) -> Callable[[float, float], float]:
    return lambda raw, target: max(min(2 * (raw - target), clip), -clip)


def fused_score(model: Any, kind: Kind, river: Score) -> Score:
    """Return what scores as ``river`` does, or ``river`` where the model is none of those above.

    Both make of features, none of them null, a probability or a regression's number. The model is
    taken as it is now. Features that are new, no numbers or too large go to ``river``.

    >>> from river import linear_model
    >>> model = linear_model.LinearRegression(intercept_init=2.5)
    >>> fused_score(model, "regression", model.predict_one)({})
    2.5
    """
    parts = parts_of(model, kind)
    if parts is None:
        return river
    dot = _dot(parts) if parts.scaler is None else _dot_scaled(parts)
    intercept = parts.linear.intercept
    logistic = kind == "binary"

    def score(features: Features) -> Any:
        try:
            raw = dot(features) + intercept
        except _UNUSUAL:
            raw = None
        if type(raw) is not float:
            return river(features)
        if not logistic:
            return raw
        return 0.0 if raw < -30 else 1.0 if raw > 30 else 1 / (1 + exp(-raw))

    return score


def _dot(parts: Parts) -> Score:
    known = {name: weight for name, _, _, _, weight, _ in _cells(parts)}
    layouts = _Layouts(known, parts.chooser)

    def dot(features: Features) -> Any:
        pick, weights = layouts[tuple(features)]
        total = 0.0
        for value, weight in zip(pick(features), weights, strict=True):
            total += value * weight
        return total

    return dot


def _dot_scaled(parts: Parts) -> Score:
    known = {
        name: (mean, variance**0.5, weight) for name, _, mean, variance, weight, _ in _cells(parts)
    }
    layouts = _Layouts(known, parts.chooser)

    def dot(features: Features) -> Any:
        pick, cells = layouts[tuple(features)]
        total = 0.0
        for value, (mean, deviation, weight) in zip(pick(features), cells, strict=True):
            total += ((value - mean) / deviation if deviation else 0.0) * weight
        return total

    return dot
