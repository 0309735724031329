"""The figures of the comparison of parts with whole patches, on curves that a reader can compute."""

import pytest

from benchmarks.parts_table import gain_at_equal, judge_expectations, judge_starts, with_interval


def curve(*points: tuple[int, float]) -> list[dict[str, float]]:
    return [{"edited": edited, "iou": iou} for edited, iou in points]


def test_curves_are_compared_over_the_pixels_that_both_have():
    rising = curve((100, 0.5), (200, 0.6))
    assert gain_at_equal(rising, curve((100, 0.5), (300, 0.5)), "edited") == pytest.approx(0.05)  # .0 to .1
    assert gain_at_equal(curve((100, 0.5), (300, 0.5)), rising, "edited") == pytest.approx(-0.05)
    assert gain_at_equal(rising, curve((100, 0.5), (150, 0.55)), "edited") == pytest.approx(0.0)


def test_an_interval_needs_two_values():
    assert with_interval([0.25]) == "+0.250"
    assert with_interval([0.0, 0.2]) == "+0.100 [-1.171, +1.371]"  # t(1) = 12.706, standard error .1


def cell(*proposals: tuple[tuple[int, int], tuple[float, float]]) -> dict:
    return {
        "proposals": [{"true": true, "raw": raw, "calibrated": raw[::-1], "useful": True} for true, raw in proposals]
    }


def test_a_rule_is_right_where_its_start_needs_the_fewest_edits():
    """By expected edits the first starts from the proposal, the second from an empty mask: both right."""
    found = {
        row["annotators start from the proposal"]: row
        for row in judge_starts([cell(((10, 40), (12.0, 30.0)), ((50, 20), (40.0, 10.0)))])
    }
    by_rule = {
        name: (row["right"], row["pixels changed"], row["more than with hindsight"]) for name, row in found.items()
    }
    assert by_rule == {
        "always empty": ("50%", "60", "+100%"),
        "always the proposal": ("50%", "60", "+100%"),
        "mean IoU above an empty mask's": ("50%", "60", "+100%"),
        "expected edits, raw": ("100%", "30", "+0%"),
        "expected edits, calibrated": ("0%", "90", "+200%"),
    }


def test_expected_edits_are_compared_by_where_annotators_start():
    rows = judge_expectations([cell(((10, 40), (12.0, 30.0)), ((50, 20), (48.0, 10.0)), ((60, 80), (60.0, 80.0)))])
    raw = [
        (row["from"], row["expected / true"], row["rank correlation"]) for row in rows if row["probabilities"] == "raw"
    ]
    assert raw == [("proposal", "1.00", "1.00"), ("empty mask", "0.86", "1.00")]
