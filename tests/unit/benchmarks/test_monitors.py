"""What monitors cost is measured of the pipelines that are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import monitors, watched
from streamproc.pipeline import Pipeline


@pytest.mark.data
@pytest.mark.parametrize("made", [monitors.example, monitors.wide])
def test_the_parts_of_a_pipeline_are_measured(made: monitors.Made) -> None:
    """Each has its time; health, which has no buckets, is left out."""
    found = monitors.measure(made(), "1d", most=2_000)
    assert min(found.scoring_us, found.predictions_us, found.decoding_us) > 0
    assert found.slices == (monitors.SLICES if made is monitors.wide else 0)


@pytest.mark.parametrize("bucket", ["none", "1h", "1d"])
@pytest.mark.parametrize("changes", [{}, watched.WIDE])
def test_a_worker_is_given_other_buckets_or_no_monitors(
    tmp_path: Path, changes: dict[str, str], bucket: str
) -> None:
    """All of the example has, or none; the wide one has 50 series with score and decision."""
    made = Pipeline.load(watched.pipeline_file(tmp_path, "some", changes, bucket))
    buckets = [getattr(each, "bucket", None) for each in made.monitors]
    assert buckets == ([] if bucket == "none" else [bucket] * (len(buckets) - 1) + [None])
    assert len(made.feature_names) == (48 if changes else 9)
    assert (not changes or bucket == "none") or made.slice_fields == ("terminal_id",)
