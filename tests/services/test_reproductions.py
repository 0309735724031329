"""How a version that was trained again is judged, and how it is asked for."""

import json
import math
from dataclasses import replace

import pytest

from catalog import jobs
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import JobKind
from services.reproductions import OTHER, SAME, Options, Reproduction, ReproductionOutcome, Tolerance, ask, in_words

# 3 % of the pixels changed their class, and the mean IoU by 0.04.
SHIFTED = Reproduction(
    version=2,
    largest_difference=0.5,
    rms_difference=0.1,
    rms_weight=1.0,
    metrics={"test": {"mean": (0.5, 0.54), "rock": (None, None)}},
    same_class=0.97,
    same_circumstances=False,
    notes=("threads: then 1, here 2",),
)
EXACT = replace(
    SHIFTED,
    largest_difference=0.0,
    rms_difference=0.0,
    metrics={"test": {"mean": (0.5, 0.5)}},
    same_class=1.0,
    same_circumstances=True,
    notes=(),
)


@pytest.mark.parametrize(
    ("found", "pixels", "metric", "outcome"),
    [
        (SHIFTED, 0.031, 0.041, ReproductionOutcome.WITHIN),
        (SHIFTED, 0.029, 0.041, ReproductionOutcome.OUTSIDE),
        (SHIFTED, 0.031, 0.039, ReproductionOutcome.OUTSIDE),
        (replace(SHIFTED, metrics={"test": {"rock": (0.1, None)}}), 1.0, 0.9, ReproductionOutcome.OUTSIDE),
        (EXACT, 0.0, 0.0, ReproductionOutcome.EXACT),
        (replace(EXACT, metrics={"test": {"mean": (0.5, 0.4)}}), 0.0, 0.0, ReproductionOutcome.OUTSIDE),
    ],
)
def test_the_outcome_follows_from_pixels_metrics_and_weights(
    found: Reproduction, pixels: float, metric: float, outcome: ReproductionOutcome
) -> None:
    assert found.outcome(Tolerance(pixels, metric)) is outcome


def test_the_tolerance_is_that_of_the_circumstances_where_none_is_set() -> None:
    assert EXACT.tolerance(Options()) == SAME
    assert SHIFTED.tolerance(Options()) == OTHER
    assert SHIFTED.tolerance(Options(pixels=0.0)) == Tolerance(0.0, OTHER.metric)
    assert EXACT.tolerance(Options(metric=0.25)) == Tolerance(SAME.pixels, 0.25)


def test_a_sentence_tells_the_outcome() -> None:
    assert in_words(2, ReproductionOutcome.EXACT, SAME) == "Version 2 is exactly the same."
    assert (
        in_words(2, ReproductionOutcome.WITHIN, OTHER) == "Version 2 is within the tolerance (pixels 0.1, metrics 0.1)."
    )
    assert in_words(2, ReproductionOutcome.OUTSIDE, Tolerance(0.0, 0.05)) == (
        "Version 2 is outside of the tolerance (pixels 0, metrics 0.05)."
    )


def test_a_report_holds_what_every_database_stores() -> None:
    found = replace(SHIFTED, largest_difference=math.inf, rms_difference=math.nan)
    told = json.loads(json.dumps(found.to_json(OTHER), allow_nan=False))
    assert told == {
        "version": 2,
        "largest_difference": None,
        "rms_difference": None,
        "rms_weight": 1.0,
        "metrics": {"test": {"mean": [0.5, 0.54], "rock": [None, None]}},
        "largest_metric_difference": pytest.approx(0.04),
        "same_class": 0.97,
        "same_circumstances": False,
        "notes": ["threads: then 1, here 2"],
        "exact": False,
        "tolerance": {"pixels": 0.1, "metric": 0.1},
        "outcome": "within",
        "within_tolerance": True,
    }


def test_a_version_is_trained_again_once_at_a_time_and_other_options_are_not_dropped(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        first = ask(session, 2, Options(threads=2), "olga")
        assert (first.kind, first.subject) == (JobKind.REPRODUCE_VERSION, {"version": 2, "by": "olga", "threads": 2})
        assert ask(session, 2, Options(threads=2), "otto") is first
        assert ask(session, 3, Options(), "otto") is not first
    with (
        pytest.raises(ConflictError, match="again already, asked for by olga with threads 2; wait for that, or cancel"),
        catalog.database.write() as session,
    ):
        ask(session, 2, Options(precision="float32"), "otto")
    with catalog.database.write() as session:
        jobs.request_cancel(session, first.id)
        assert ask(session, 2, Options(precision="float32"), "otto") is not first
