"""The cost of labels, on figures that a reader can add up."""

import pytest

from services.effort import LabelCost, check_expectations, summarize


def test_costs_add_up_and_labels_without_lead_time_count_for_pixels_only():
    costs = [LabelCost(1000, 100, 30.0, 90.0), LabelCost(1000, 300, None, 330.0), LabelCost(2000, 200, 90.0, None)]
    group = summarize("parts", "proposal", costs, simulated=False)
    assert (group.labels, group.asked_px, group.edited_px, group.edited_share) == (3, 4000, 600, 0.15)
    assert (group.seconds, group.seconds_per_1000_px) == (120.0, 40.0)
    assert (group.check.labels, group.check.expected_px, group.check.edited_px) == (2, 420.0, 400)
    assert group.check.bias_px == 10.0  # 10 too few and 30 too many
    assert group.check.rank_correlation is None


def test_seconds_and_expectations_may_be_missing():
    group = summarize("whole patches", "empty mask", [LabelCost(1000, 100, None, None)], simulated=True)
    assert (group.seconds_per_1000_px, group.check) == (None, None)


@pytest.mark.parametrize(
    ("edited", "correlation"), [([1, 2, 3, 9], 1.0), ([9, 3, 2, 1], -1.0), ([5, 5, 5, 5], None), ([1, 1, 2, 2], 0.894)]
)
def test_the_rank_correlation_is_spearmans(edited, correlation):
    costs = [LabelCost(10, px, None, expected) for px, expected in zip(edited, [0.5, 1.5, 7.0, 8.0], strict=True)]
    found = check_expectations(costs).rank_correlation
    assert found == (None if correlation is None else pytest.approx(correlation, abs=5e-4))
