"""The commonest online models without River's overhead, equal to River in every bit.

They are ``LogisticRegression``, ``LinearRegression`` and either of them behind a
``StandardScaler``, trained by plain ``SGD``. River walks the features six times an outcome, from
dictionary to dictionary; here it is twice, by the same floating-point operations in the same
order. The state comes out of River's objects and goes back into them, so what is stored stays an
ordinary River model. What is unusual is left to River, with nothing changed before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import exp, isfinite
from typing import Any, NamedTuple

from river import compose, linear_model, optim, preprocessing
from river.utils import VectorDict

from streamproc.messages import Features
from streamproc.models.kinds import Kind

__all__ = ["FusedLearner", "Parts", "fused_score", "parts_of"]

Score = Callable[[Features], Any]


_UNUSUAL = (ArithmeticError, KeyError, TypeError)
"""What Python raises for a feature that is too large, new, or no number."""

_MODELS: dict[Kind, tuple[Any, Any]] = {
    "binary": (linear_model.LogisticRegression, optim.losses.Log),
    "regression": (linear_model.LinearRegression, optim.losses.Squared),
}


class Parts(NamedTuple):
    """The parts of a model that can be fused; None where there is no pipeline or no scaler."""

    pipeline: Any
    scaler: Any
    linear: Any


def parts_of(model: Any, kind: Kind) -> Parts | None:
    """Return the parts of a model that can be fused; None for all others.

    Types are compared exactly, as a subclass may compute otherwise.

    >>> from river import linear_model
    >>> parts_of(linear_model.LogisticRegression(), "binary") is not None
    True
    >>> parts_of(linear_model.LogisticRegression(l2=0.1), "binary") is None
    True
    """
    pipeline, scaler, linear = None, None, model
    if type(model) is compose.Pipeline and len(model.steps) == 2:
        pipeline, (scaler, linear) = model, model.steps.values()
        if not _has_no_more(pipeline) or not _is_plain_scaler(scaler):
            return None
    if kind not in _MODELS or not _is_plain_linear(linear, *_MODELS[kind]):
        return None
    return Parts(pipeline, scaler, linear)


def _is_plain_scaler(scaler: Any) -> bool:
    return bool(
        type(scaler) is preprocessing.StandardScaler
        and _has_no_more(scaler)
        and scaler.with_std is True
        and scaler.window_size is None
    )


def _is_plain_linear(linear: Any, its_type: Any, loss: Any) -> bool:
    return bool(
        type(linear) is its_type
        and _has_no_more(linear)
        and type(linear.optimizer) is optim.SGD
        and _is_constant(linear.optimizer.lr)
        and _is_constant(linear.intercept_lr)
        and type(linear.loss) is loss
        and vars(linear.loss) == vars(loss())  # both classes weigh 1
        and linear.l1 == linear.l2 == 0
        and type(linear.clip_gradient) is float
        and linear.clip_gradient >= 1.0  # no gradient of a logistic loss is beyond it
        and type(linear._weights) is VectorDict
        and linear._weights.__reduce__()[1][1:3] == (None, None)
    )


def _has_no_more(part: Any) -> bool:
    """Say whether a part has the attributes of a new one alone: no method of its own."""
    new = type(part)()
    if isinstance(part, compose.Pipeline):
        new._build_plan()
    return set(vars(part)) <= set(vars(new))


def _is_constant(rate: Any) -> bool:
    if type(rate) is not optim.schedulers.Constant:
        return False
    return type(rate.learning_rate) in (int, float) and abs(rate.learning_rate) < 1e300


class _Layouts(dict[tuple[str, ...], list[Any]]):
    """What is known of each feature, by the names of all; ``KeyError`` for none or a new one."""

    def __init__(self, known: dict[str, Any]) -> None:
        self.known = known

    def __missing__(self, names: tuple[str, ...]) -> list[Any]:
        if not names:  # River's pipeline may have made no plan yet, see ``_cells``
            raise KeyError(names)
        layout = [self.known[name] for name in names]
        if len(self) >= 256:  # as many as there are sets of null features, but not without end
            self.clear()
        self[names] = layout
        return layout


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
        # Count, mean, variance and weight of each feature, changed in place.
        self._cells = {name: list(cell) for name, *cell in _cells(parts)}
        self._layouts = _Layouts(self._cells)
        self._look = _look if parts.scaler is None else _look_scaled
        logistic = type(linear.loss) is optim.losses.Log
        self._gradient = _log_gradient if logistic else _squared_gradient(linear.clip_gradient)
        self._rate = linear.optimizer.lr.learning_rate
        self._intercept_rate = linear.intercept_lr.learning_rate
        self._intercept = linear.intercept
        self._learnt = 0

    def learn(self, features: Features, target: Any) -> bool:
        """Learn from features, none of them null, and a target; say whether it was done.

        Where not, River is to do it: a feature is new, no number or not finite. Raises nothing.
        """
        try:
            cells = self._layouts[tuple(features)]
            total, after = self._look(features.values(), cells)
            raw = total + self._intercept
            # River is to make NaN, whose sign depends on where it comes from. Complex numbers,
            # and those of numpy, are no floats.
            if type(raw) is not float or not isfinite(raw):
                return False
            gradient = self._gradient(raw, target)
        except _UNUSUAL:
            return False
        self._intercept -= self._intercept_rate * gradient
        rate = self._rate
        for cell, (count, mean, variance, weight, scaled) in zip(cells, after, strict=True):
            cell[0], cell[1], cell[2] = count, mean, variance
            cell[3] = weight - rate * (scaled * gradient)
        self._learnt += 1
        return True

    def give_back(self) -> None:
        """Put what was learnt into River's model."""
        _, scaler, linear = self._parts
        for name, (count, mean, variance, weight) in self._cells.items():
            if scaler is not None:
                scaler.counts[name] = count
                scaler.means[name] = mean
                scaler.vars[name] = variance
            linear._weights[name] = weight
        linear.intercept = self._intercept
        linear.optimizer.n_iterations += self._learnt
        self._learnt = 0


def _cells(parts: Parts) -> Iterable[tuple[str, int, float, float, float]]:
    """Yield name, count, mean, variance and weight of what every part of a model knows."""
    pipeline, scaler, linear = parts
    if pipeline is not None and pipeline._plan is None:
        return  # it makes a plan of its steps at the first outcome, and stores it
    for name, weight in linear._weights.items():
        if scaler is None:
            known: tuple[Any, ...] = (0, 0.0, 0.0)
        elif name in scaler.counts and name in scaler.means and name in scaler.vars:
            known = (scaler.counts[name], scaler.means[name], scaler.vars[name])
        else:
            continue
        if tuple(map(type, (*known, weight))) == (int, float, float, float):
            yield (name, *known, weight)


def _look(values: Iterable[Any], cells: list[Any]) -> tuple[Any, list[Any]]:
    """Return the dot product, and what is known of each feature after it."""
    total = 0.0
    after = []
    for value, (count, mean, variance, weight) in zip(values, cells, strict=True):
        total += value * weight
        after.append((count, mean, variance, weight, value))
    return total, after


def _look_scaled(values: Iterable[Any], cells: list[Any]) -> tuple[Any, list[Any]]:
    """Return the dot product of scaled features, and what is known of each after it."""
    total = 0.0
    after = []
    for value, (count, mean, variance, weight) in zip(values, cells, strict=True):
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
    layouts = _Layouts({name: weight for name, _, _, _, weight in _cells(parts)})

    def dot(features: Features) -> Any:
        values: Iterable[Any] = features.values()
        total = 0.0
        for value, weight in zip(values, layouts[tuple(features)], strict=True):
            total += value * weight
        return total

    return dot


def _dot_scaled(parts: Parts) -> Score:
    layouts = _Layouts(
        {name: (mean, variance**0.5, weight) for name, _, mean, variance, weight in _cells(parts)}
    )

    def dot(features: Features) -> Any:
        values: Iterable[Any] = features.values()
        total = 0.0
        for value, (mean, deviation, weight) in zip(values, layouts[tuple(features)], strict=True):
            total += ((value - mean) / deviation if deviation else 0.0) * weight
        return total

    return dot
