"""Verdicts of a soak on series that a reader can work out; one point every 15 s, for 40 minutes."""

from collections.abc import Callable

import numpy as np
import pytest

from chaos.growth import FEWEST, Verdict, judge_cost, judge_trend

SECONDS = [15.0 * number for number in range(160)]
NOISE = np.random.default_rng(0).normal(0, 1, len(SECONDS))


@pytest.mark.parametrize(
    ("shape", "verdict"),
    [
        (lambda hour: 100.0, Verdict.FLAT),
        (lambda hour: 0.0, Verdict.FLAT),
        (lambda hour: 100.0 + 5 * hour, Verdict.FLAT),  # half of what is allowed
        (lambda hour: 100.0 - 50 * hour, Verdict.FLAT),
        (lambda hour: 100.0 + 20 * hour, Verdict.GROWS),
        (lambda hour: 100.0 + 3 * int(hour * 12), Verdict.GROWS),  # 3 more every five minutes
        (lambda hour: 100.0 + 50 * (hour > 0.1), Verdict.FLAT),  # few pairs of points have the step between them
        (lambda hour: 100.0 + 50 * (hour > 0.33), Verdict.STEPPED),  # half of all pairs have it
        (lambda hour: 100.0 + 60 * min(hour, 0.3), Verdict.STEPPED),  # grows, then stops
    ],
)
def test_the_verdict_follows_the_shape_of_a_series(shape: Callable[[float], float], verdict: Verdict) -> None:
    assert judge_trend(SECONDS, [shape(second / 3600) for second in SECONDS]).verdict is verdict


def test_growth_is_a_share_of_the_level_per_hour() -> None:
    trend = judge_trend(SECONDS, [190.0 + second / 3600 * 30 for second in SECONDS])
    assert trend.level == pytest.approx(200, abs=0.1)
    assert trend.hourly is not None
    assert trend.hourly.value == pytest.approx(0.15, rel=1e-3)


def test_noise_and_peaks_do_not_make_a_flat_series_grow() -> None:
    values = 100 + NOISE
    values[::10] *= 3  # a job runs in every tenth sample
    assert judge_trend(SECONDS, values.tolist()).verdict is Verdict.FLAT


def test_noise_over_a_short_time_is_not_decided() -> None:
    assert judge_trend(SECONDS[:20], (100 + NOISE[:20]).tolist()).verdict is Verdict.UNDECIDED


def test_fewer_points_than_needed_have_a_level_only() -> None:
    trend = judge_trend(SECONDS[: FEWEST - 1], [3.0] * (FEWEST - 1))
    assert (trend.level, trend.hourly, trend.verdict) == (3.0, None, Verdict.UNDECIDED)


@pytest.mark.parametrize(
    ("bytes_of", "verdict"),
    [
        (lambda event: 1000 * event, Verdict.FLAT),
        (lambda event: 4096 * (event // 8), Verdict.FLAT),  # whole pages
        (lambda event: 10 * event**2, Verdict.GROWS),  # an event costs 20 x the events before it
    ],
)
def test_an_event_costs_the_same_late_as_early(bytes_of: Callable[[int], float], verdict: Verdict) -> None:
    events = range(0, 480, 3)
    assert judge_cost(events, [bytes_of(event) for event in events]).verdict is verdict


def test_the_cost_of_an_event_is_in_bytes() -> None:
    events = range(0, 480, 3)
    cost = judge_cost(events, [5000 + 700 * event for event in events])
    assert cost.early is not None
    assert cost.late is not None
    assert (cost.early.value, cost.late.value) == (pytest.approx(700), pytest.approx(700))


def test_without_events_there_is_no_cost() -> None:
    assert judge_cost([5.0] * 40, [1.0] * 40).verdict is Verdict.UNDECIDED
