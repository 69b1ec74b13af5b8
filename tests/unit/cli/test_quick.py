"""Imports that leave `scipy.stats` for later, and what is computed with it then."""

from __future__ import annotations

import subprocess
import sys

_USES = """
from river import drift, metrics
from river.proba import MultivariateGaussian
from river.tree.stochastic_gradient_tree import f_dist

normal = MultivariateGaussian(seed=1)
for n in range(9):
    normal.update({"a": n, "b": n * n % 7})
print(normal({"a": 3.0, "b": 4.0}), normal.cdf({"a": 3.0, "b": 4.0}), normal.sample())
detector = drift.KSWIN(seed=1)
for n in range(300):
    detector.update(n % 10 + (n > 200) * 50)
print(detector.p_value)
mean = metrics.GeometricMean()
for truth, said in ((1, 1), (0, 1), (0, 0), (1, 1)):
    mean.update(truth, said)
print(mean.get())
print(1 - f_dist.cdf(2.5, 1, 30))
"""

_DEFERRED = """
import sys
from streamproc.cli.quick import quick_imports
with quick_imports():
    import agents.worker
    from river import metrics, tree
assert "scipy.stats" not in sys.modules
"""


def said_by(code: str) -> str:
    """Return what Python prints when it runs this."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_was_left_for_later_works_as_if_it_had_not_been() -> None:
    """River computes the same with it, and imports it when it does."""
    used = said_by(f"{_DEFERRED}{_USES}print('scipy.stats' in sys.modules)")
    assert used == f"{said_by(_USES)}True\n"


def test_a_worker_imports_no_statistics() -> None:
    """Neither a worker's imports nor a usual model's learning need what takes long to import."""
    said_by(
        f"""{_DEFERRED}
from river import linear_model, preprocessing
model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
model.learn_one({{"a": 1.0}}, True)
assert "scipy.stats" not in sys.modules
import scipy.stats
assert scipy.stats.norm.cdf(0) == 0.5
"""
    )
