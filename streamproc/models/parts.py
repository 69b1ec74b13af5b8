"""Which models can be fused, and their parts: see ``fused``."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

from river import compose, linear_model, optim, preprocessing
from river.utils import VectorDict

from streamproc.models.kinds import Kind

_MODELS: dict[Kind, tuple[Any, Any]] = {
    "binary": (linear_model.LogisticRegression, optim.losses.Log),
    "regression": (linear_model.LinearRegression, optim.losses.Squared),
}


class Parts(NamedTuple):
    """The parts of a model that can be fused; None for those it lacks.

    ``chooser`` leaves features out: it is a ``Discard`` or a ``Select``.
    """

    pipeline: Any
    chooser: Any
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
    pipeline, before, linear = None, [], model
    if type(model) is compose.Pipeline and len(model.steps) > 1:
        pipeline, (*before, linear) = model, model.steps.values()
        if not _has_no_more(pipeline):
            return None
    chooser = before.pop(0) if before and _is_plain_chooser(before[0]) else None
    scaler = before.pop() if before and _is_plain_scaler(before[-1]) else None
    if before or kind not in _MODELS or not _is_plain_linear(linear, *_MODELS[kind]):
        return None
    return Parts(pipeline, chooser, scaler, linear)


def _is_plain_chooser(chooser: Any) -> bool:
    return bool(
        type(chooser) in (compose.Discard, compose.Select)
        and _has_no_more(chooser)
        and type(chooser.keys) is set
    )


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
        and _is_plain_optimizer(linear.optimizer)
        and _is_constant(linear.intercept_lr)
        and type(linear.loss) is loss
        and vars(linear.loss) == vars(loss())  # both classes weigh 1
        and linear.l1 == linear.l2 == 0
        and type(linear.clip_gradient) is float
        and linear.clip_gradient >= 1.0  # no gradient of a logistic loss is beyond it
        and type(linear._weights) is VectorDict
        and linear._weights.__reduce__()[1][1:3] == (None, None)
    )


def _is_plain_optimizer(optimizer: Any) -> bool:
    if type(optimizer) is optim.AdaGrad:
        plain = type(optimizer.eps) is float and type(optimizer.g2) is defaultdict
    else:
        plain = type(optimizer) is optim.SGD
    return plain and _has_no_more(optimizer) and _is_constant(optimizer.lr)


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
