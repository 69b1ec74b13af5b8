"""The compiled ports of other people's detectors alarm where the originals do."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.detection import fits, kswin, peers
from benchmarks.detection.agreement import PORTS
from benchmarks.detection.originals import ORIGINALS, sample_streams
from benchmarks.detection.streams import REFERENCE, ROWS, USUAL

STREAMS = sample_streams()

RECORDED = {
    # Of frouros 0.9.0, which wants an older numpy than River; `make detect` runs it again.
    "CUSUM": [1073, 2132, 4064, 6178, 6838],
    "GeometricMovingAverage": [2107, 4058, 6764],
    "RDDM": [
        *(2847, 2848, 3041, 3042, 5475, 5476, 10133, 10134, 10354, 10372, 10373, 11989, 11990),
        *(17568, 17569),
    ],
    "STEPD": [
        *(494, 1434, 1871, 2417, 4561, 9046, 10019, 12528, 12672, 13359, 17190, 17510, 19972),
    ],
    "MMDStreaming": [3147, 3347, 3547, 3747, 3947],
}
RIVER = [name for name, (package, *_) in ORIGINALS.items() if package == "river"]


@pytest.mark.parametrize("name", [name for name in RIVER if not name.startswith("KSWIN")])
def test_a_port_alarms_where_river_does(name: str) -> None:
    """At each event the same, over several alarms, after each of which both begin anew."""
    _, stream, run = ORIGINALS[name]
    alarms = PORTS[name](STREAMS[stream]).tolist()
    assert alarms == run(STREAMS[stream])
    assert len(alarms) >= 3


@pytest.mark.parametrize(("name", "events"), [("KSWIN", 3_000), ("KSWIN, windows of 1000", 3_600)])
def test_kswin_draws_and_alarms_as_river_does(name: str, events: int) -> None:
    """It takes a millisecond an event in River, so the stream is shorter."""
    values = STREAMS["values"][1_000 : 1_000 + events]
    alarms = PORTS[name](values).tolist()
    assert alarms == ORIGINALS[name][2](values)
    assert alarms


def test_kswins_p_values_are_scipys() -> None:
    """For samples that happen to be so far apart."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        one, other = rng.normal(size=30), rng.normal(rng.normal(), 1, 30)
        found = stats.ks_2samp(one, other)
        assert kswin.p_values(30)[round(found.statistic * 30)] == pytest.approx(found.pvalue)


@pytest.mark.parametrize("name", RECORDED)
def test_a_port_alarms_where_frouros_did(name: str) -> None:
    """At the same events."""
    assert PORTS[name](STREAMS[ORIGINALS[name][1]]).tolist() == RECORDED[name]


def test_the_port_of_cvm_alarms_where_alibi_detect_did() -> None:
    """All of its 109 alarms."""
    alarms = PORTS["CVMDriftOnline"](STREAMS["values"]).tolist()
    assert (len(alarms), sum(alarms)) == (109, 499_067)
    assert alarms[:7] == [2061, 2093, 2165, 2206, 2306, 2339, 2365]


def test_chi_square_is_pearsons_on_each_window() -> None:
    """And alarms where a category comes that the reference lacks."""
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 10, REFERENCE + 1_999).astype(np.float64)
    codes[REFERENCE + 1_200] = 10.0
    shares = np.bincount(codes[:REFERENCE].astype(int), minlength=11) + 0.5
    windows = codes[REFERENCE : REFERENCE + 1_500].astype(int).reshape(3, 500)
    usual = shares / shares.sum() * 500
    found = [stats.chisquare(np.bincount(it, minlength=11), usual).statistic for it in windows]
    limits = (min(found) * 0.99, max(found) * 0.99)
    assert peers.chi_square(codes, limits[0], 10**9).tolist() == [
        REFERENCE + 499 + 500 * it for it in range(3)
    ]
    assert peers.chi_square(codes, limits[1], 10**9).tolist() == [REFERENCE + 1_499]
    assert found[2] == max(found)


@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.name)
def test_alarms_end_with_the_first_that_is_asked_for(peer: peers.Peer) -> None:
    """Those before it stay the same: measuring a delay sees what measuring a rate sees."""
    row = next(it for it in ROWS if it.stream == peer.sees[0])
    rng = np.random.default_rng(3)
    values = np.concatenate([USUAL[row.stream](rng, REFERENCE), row.draw(rng, 2_000)])
    often = peer.bracket[0]
    prepared = peer.prepared(values)
    every = peer.alarms(prepared, often, len(values))
    assert len(every) >= 3
    assert np.array_equal(np.unique(every), every)
    middle = int(every[len(every) // 2])
    assert peer.alarms(prepared, often, middle).tolist() == every[every <= middle].tolist()


def test_every_peer_has_a_threshold_that_is_about_the_target() -> None:
    """What is stored is of these peers; those which can't be set to it are known by name."""
    stored = fits.read()
    assert list(stored) == [(peer.name, stream) for peer, stream in fits.tasks()]
    low, high = fits.EQUAL
    off = {it for it, fit in stored.items() if not low < fit["mtfa_events"] / 100_000 < high}
    assert off == {("HDDM_W", "label"), ("STEPD", "label"), ("KSWIN", "number")}


def test_fits_are_written_as_they_are_read(tmp_path: Any) -> None:
    """In the order of the peers, with the versions they were fitted with."""
    path = tmp_path / "fitted.json"
    some = list(fits.read().values())
    fits.written(some[::-1], {"frouros": "0.9.0"}, path)
    assert list(fits.read(path).values()) == some
    assert json.loads(path.read_text())["versions"]["frouros"] == "0.9.0"


def test_test_streams_are_what_alarms_were_recorded_on() -> None:
    """If numpy draws otherwise one day, the recorded alarms are of no use: record them again."""
    digest = hashlib.sha256(b"".join(STREAMS[it].tobytes() for it in sorted(STREAMS))).hexdigest()
    assert digest[:16] == "59e16460c9938b7b"
