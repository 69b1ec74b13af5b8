"""Versions: bytes that come back the same, and bytes that are refused."""

from __future__ import annotations

import collections
import functools
import hashlib
import os
import pickle
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from river import compose, forest, linear_model, naive_bayes, preprocessing

from streamproc.errors import StreamprocError
from streamproc.messages import ModelVersion
from streamproc.models.versions import Store, build_version, dumps, loads
from tests.servers import ROOT

BAYES: Any = naive_bayes.GaussianNB


def _version(blob: bytes) -> ModelVersion:
    return build_version(
        blob, version=1, outcomes=1, label_time_ms=0, published_at_ms=0, fingerprint=""
    )


def _learnt() -> Any:
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    for i in range(20):
        model.learn_one({"amount": float(i)}, i > 9)
    return model


def _asks_for(module: str, name: str, *arguments: Any) -> bytes:
    """Return a pickle that calls ``module.name(*arguments)``, by STACK_GLOBAL and REDUCE."""
    parts = [_text(module), _text(name), b"\x93", b"("]
    parts += [_text(each) for each in arguments]
    return b"\x80\x05" + b"".join(parts) + b"tR."


def _text(value: str) -> bytes:
    return b"\x8c" + struct.pack("B", len(value)) + value.encode()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "open"),
        ("builtins", "__import__"),
        ("builtins", "print"),
        ("builtins", "dict.fromkeys"),
        ("importlib", "import_module"),
        ("operator", "attrgetter"),
        ("functools", "reduce"),
        ("collections", "namedtuple"),
        ("numpy", "load"),
        ("numpy", "fromfile"),
        ("numpy.testing", "measure"),
        ("pickle", "loads"),
        ("random", "_os.system"),
        ("river", "base"),
        ("river.base.base", "Base.clone"),
        ("river.base.base", "sys.modules"),
        ("river.base.base", "inspect.os.system"),
        ("river.base.base", "_log_method_calls"),
        ("river.compose.pipeline", "functools"),
        ("river.naive_bayes.gaussian", "proba"),
        ("river.cluster.dbstream", "ABCMeta"),
        ("river.base.estimator", "EstimatorMeta"),
        ("river.base.ensemble", "UserList"),
        ("river.datasets.base", "RemoteDataset"),
        ("river.datasets", "Bikes"),
        ("river.stream", "iter_csv"),
        ("river.evaluate", "Track"),
        ("river.checks", "check_estimator"),
        ("river.no_such_module", "Thing"),
        ("river.linear_model.log_reg", "LogisticRegression.__init__.__globals__"),
        ("river.linear_model.log_reg", "LogisticRegression.learn_one"),
        ("streamproc.models.versions", "loads"),
        ("sklearn.linear_model", "SGDClassifier"),
    ],
)
def test_what_no_model_is_made_of_is_refused(module: str, name: str) -> None:
    """Nothing runs, and the error names what was asked for, on one line."""
    with pytest.raises(StreamprocError) as told:
        loads(_asks_for(module, name))
    assert f"ask for {module}.{name}, which" in str(told.value)
    assert "\n" not in str(told.value)


class _Shell:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def test_a_pickle_that_would_run_a_shell_runs_nothing(tmp_path: Path) -> None:
    """The classic attack, hidden inside a model that is otherwise sound."""
    model: Any = _learnt()
    model["LogisticRegression"].loss = _Shell(f"touch {tmp_path}/was-here")
    blob = pickle.dumps(model)
    with pytest.raises(StreamprocError, match=r"system, which no model is made of"):
        loads(blob)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["__class__", "__init__", "__globals__", "learn_one", "_get_params", "mutate"]
)
def test_getattr_reaches_only_the_methods_that_models_keep(name: str) -> None:
    """River keeps bound methods, which pickle fetches by getattr: a chain of them leads nowhere."""
    with pytest.raises(StreamprocError, match=rf"LogisticRegression\.{name}, which no model"):
        loads(pickle.dumps(_Chain(linear_model.LogisticRegression(), name)))
    with pytest.raises(StreamprocError, match=r"builtins\.dict\.clone, which no model"):
        loads(pickle.dumps(_Chain({}, "clone")))


class _Chain:
    def __init__(self, owner: Any, name: str) -> None:
        self.arguments = owner, name

    def __reduce__(self) -> Any:
        return getattr, self.arguments


def test_names_that_a_pipeline_allows_are_let_in() -> None:
    """Only the very name, and only a whole one: a dotted name would reach into it."""
    blob = dumps(compose.FuncTransformer(_doubled))
    name = f"{__name__}._doubled"
    assert loads(blob, [name]).transform_one({"a": 2}) == {"a": 4}
    for allow in ([], [__name__], ["_doubled"], [f"{name}s"]):
        with pytest.raises(StreamprocError, match="_doubled, which no model is made of"):
            loads(blob, allow)
    with pytest.raises(StreamprocError, match="__globals__, which no model is made of"):
        loads(_asks_for(__name__, "_doubled.__globals__"), [f"{__name__}._doubled.__globals__"])


def _doubled(x: Any) -> Any:
    return {name: 2 * value for name, value in x.items()}


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, (b"x", frozenset({1}))], "ä": {1, 2}},
        collections.OrderedDict(a=collections.deque([1, 2], maxlen=3)),
        collections.Counter("hello"),
        functools.partial(int, base=2),
        np.arange(6.0).reshape(2, 3),
        np.array(["a", 1.5], dtype=object),
        np.float32(0.25),
        np.dtype([("a", "<f8")]),
        b"<f8",
    ],
)
def test_plain_values_come_back(value: Any) -> None:
    """What models keep beside River's own: Python's containers and numpy's arrays."""
    back = loads(dumps(value))
    assert type(back) is type(value)
    if isinstance(value, functools.partial):
        assert (back.func, back.keywords) == (value.func, value.keywords)
    else:
        assert np.all(back == value)


def test_generators_come_back_where_they_were() -> None:
    """Random numbers go on as they would have."""
    made: list[Any] = [random.Random(3), np.random.RandomState(3), np.random.default_rng(3)]
    for each in made:
        back: Any = loads(dumps(each))
        assert [back.random() for _ in range(3)] == [each.random() for _ in range(3)]


def test_parts_that_are_one_object_stay_one() -> None:
    """A forest and its trees share one generator; restored they still do."""
    shared = random.Random(1)
    first, second = loads(dumps([shared, shared]))
    assert first is second


def test_bytes_do_not_depend_on_where_text_came_from() -> None:
    """Equal text and equal dtypes are written by value, not by which object they are."""
    name = "amount"
    same, other = [name, name], [name, "".join(["amo", "unt"])]
    assert dumps(same) == dumps(other)
    back = loads(dumps(np.arange(3.0)))
    assert dumps([np.zeros(1), np.zeros(1)]) == dumps([np.zeros(1), np.zeros(1, dtype=back.dtype)])


def test_generators_that_nothing_draws_from_do_not_change_the_bytes() -> None:
    """Naive Bayes keeps a distribution a feature, each with an unseeded generator of 2.5 kB."""
    blobs = []
    for _ in range(2):
        model = BAYES()
        for i in range(8):
            model.learn_one({f"f{j}": float(i * j) for j in range(4)}, i > 3)
        blobs.append(dumps(model))
    assert blobs[0] == blobs[1]
    assert len(blobs[0]) < 10_000


def test_another_process_writes_the_same_bytes() -> None:
    """With PYTHONHASHSEED=0, as workers run, the same learning gives the same hash."""
    program = (
        "import hashlib; from river import forest, compose as c, linear_model, preprocessing as p\n"
        "from streamproc.models.versions import dumps\n"
        "scaled = c.Select('a', 'b') | p.StandardScaler() | linear_model.LogisticRegression()\n"
        "for model in (scaled, forest.ARFClassifier(n_models=3, seed=1)):\n"
        "    for i in range(60): model.learn_one({'a': i % 7 / 7, 'b': i % 5 / 5}, i % 7 > 3)\n"
        "    print(hashlib.sha256(dumps(model)).hexdigest())\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
    runs = [
        subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len(set(runs[0].split())) == 2


@pytest.mark.parametrize("url", ["memory://versions", "{folder}", "file://{folder}/deeper/still"])
def test_a_stored_model_comes_back(url: str, tmp_path: Path) -> None:
    """A model put into a store scores as it did, from whatever kind of store."""
    store, model = Store(url.format(folder=tmp_path)), _learnt()
    blob = dumps(model)
    version = _version(blob)
    store.put(version["sha256"], blob)
    store.put(version["sha256"], blob)
    features = {"amount": 7.0}
    assert model.predict_proba_one(features) == store.load(version).predict_proba_one(features)


def test_a_file_has_the_name_of_its_hash_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    """The file appears whole under its name; what was written beside it is gone."""
    blob = dumps(_learnt())
    sha256 = hashlib.sha256(blob).hexdigest()
    Store(str(tmp_path)).put(sha256, blob)
    assert [f"{sha256}.bin"] == [each.name for each in (tmp_path / "models").iterdir()]
    assert blob == (tmp_path / "models" / f"{sha256}.bin").read_bytes()


@pytest.mark.parametrize("change", ["cut", "longer", "flipped", "empty", "gone"])
def test_bytes_that_changed_are_refused(change: str, tmp_path: Path) -> None:
    """A file that is not what was published is refused before anything in it is read."""
    store, blob = Store(str(tmp_path)), dumps(_learnt())
    version = _version(blob)
    store.put(version["sha256"], blob)
    (path,) = (tmp_path / "models").iterdir()
    flipped = bytes([blob[0] ^ 1]) + blob[1:]
    changed = {"cut": blob[:-1], "longer": blob + b".", "flipped": flipped, "empty": b""}
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(changed[change])
    with pytest.raises(StreamprocError, match=rf"{version['sha256']}\.bin (is not|cannot be read)"):
        store.load(version)


def test_a_broken_file_is_replaced(tmp_path: Path) -> None:
    """A file cut short by a full disk does not stay in the way of the whole one."""
    store, blob = Store(str(tmp_path)), dumps(_learnt())
    version = _version(blob)
    store.put(version["sha256"], blob)
    (path,) = (tmp_path / "models").iterdir()
    path.write_bytes(blob[:10])
    store.put(version["sha256"], blob)
    assert blob == store.get(version)


def test_bytes_under_another_hash_are_not_stored(tmp_path: Path) -> None:
    """The store holds nothing that would not verify."""
    with pytest.raises(StreamprocError, match="have another hash"):
        Store(str(tmp_path)).put("0" * 64, b"...")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sha256", ["../../etc/passwd", "", "0" * 63, "G" * 64])
def test_a_hash_is_no_path(sha256: str, tmp_path: Path) -> None:
    """A record cannot name a file outside the store."""
    version = _version(b"")
    version["sha256"] = sha256
    with pytest.raises(StreamprocError, match="is no SHA-256"):
        Store(str(tmp_path)).load(version)


@pytest.mark.parametrize("blob", [b"", b"not a pickle", dumps([1, 2])[:-3], b"\x80\x05K\x01b."])
def test_bytes_that_are_no_pickle_are_told_of(blob: bytes) -> None:
    """Whatever the bytes do to pickle, the error is one line with a remedy."""
    with pytest.raises(StreamprocError, match=r"cannot be read \([A-Za-z]+: .*publish it anew"):
        loads(blob)


def test_what_cannot_be_pickled_is_told_of() -> None:
    """A lambda in a pipeline is the usual case."""
    with pytest.raises(StreamprocError, match=r"cannot be stored: .*lambda"):
        dumps(compose.FuncTransformer(lambda x: x))


@pytest.mark.parametrize("url", ["nosuch://bucket", "s4://bucket/models"])
def test_a_store_that_there_is_none_of_is_told_of(url: str) -> None:
    """The error names the setting."""
    with pytest.raises(StreamprocError, match=f"STREAMPROC_STORE='{url}' cannot be opened"):
        Store(url)


def test_a_store_that_cannot_be_written_is_told_of(tmp_path: Path) -> None:
    """The error names the setting and the file."""
    (tmp_path / "models").write_text("a file where the folder should be")
    blob = dumps(_learnt())
    with pytest.raises(StreamprocError, match=r"cannot be written .*check STREAMPROC_STORE="):
        Store(str(tmp_path)).put(hashlib.sha256(blob).hexdigest(), blob)


def test_the_record_of_a_version_has_all_its_fields() -> None:
    """A version names its parent, and the first has none."""
    first = _version(b"...")
    assert set(first) == set(ModelVersion.__annotations__)
    assert (first["model"], first["parent"]) == ("main@1", None)
    third = build_version(
        b"",
        version=3,
        variant="other",
        outcomes=3000,
        label_time_ms=5,
        published_at_ms=6,
        fingerprint="f",
        metrics={"log_loss": 0.1},
        sources={"p.learn/0": [0, 9]},
    )
    assert (third["model"], third["parent"]) == ("other@3", "other@2")
    assert (third["metrics"], third["sources"]) == ({"log_loss": 0.1}, {"p.learn/0": [0, 9]})
    assert hashlib.sha256(b"").hexdigest() == third["sha256"]


def test_a_forest_comes_back() -> None:
    """A model of many parts, with shared generators and numpy inside, learns on as it would."""
    model = forest.ARFRegressor(n_models=3, seed=1)
    for i in range(120):
        model.learn_one({"a": i % 7 / 7, "b": i % 5 / 5}, i % 7 + 0.1)
    back = loads(dumps(model))
    for each in (model, back):
        each.learn_one({"a": 0.5, "b": 0.5}, 3.0)
    assert model.predict_one({"a": 0.4, "b": 0.2}) == back.predict_one({"a": 0.4, "b": 0.2})
    assert dumps(model) == dumps(back)
