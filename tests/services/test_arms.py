"""What the arms of a project tell, on figures that can be worked out by hand."""

import pytest

from catalog.context import Catalog
from catalog.records import ProposalReason
from services import arms, estimates, forecast
from services.arms import Arm, ArmLabel
from services.forecast import CurvePoint, Worth
from services.version_figures import WITHDRAWN, VersionFigures, withdrawals_tag
from tests.catalog_fixtures import add_round, add_scene, label_of

T_1 = 12.7062
"""Student's t for 95 %, with one degree of freedom."""


def test_a_mean_has_an_interval_from_two_values_on():
    one, two = estimates.mean([4.0]), estimates.mean([3.0, 5.0])
    assert (one.value, one.low, one.high, one.count) == (4.0, None, None, 1)
    assert (two.low, two.high) == pytest.approx((4 - T_1, 4 + T_1), rel=1e-4)  # standard error sqrt(2) / sqrt(2)
    assert estimates.mean([]) is None


def test_a_ratio_of_sums_is_exact_where_all_units_agree():
    found = estimates.ratio([10.0, 20.0, 40.0], [1.0, 2.0, 4.0])
    assert (found.value, found.low, found.high) == pytest.approx((10.0, 10.0, 10.0))
    spread = estimates.ratio([10.0, 30.0], [2.0, 2.0])  # 5 and 15 a unit: the interval of their mean
    assert (spread.value, spread.high) == pytest.approx((10.0, 10.0 + 5 * T_1), rel=1e-4)
    assert estimates.ratio([1.0], [0.0]) is None


def test_a_slope_needs_three_points():
    assert estimates.slope([1.0, 2.0], [1.0, 2.0]) is None
    assert estimates.slope([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    found = estimates.slope([0.0, 1.0, 2.0], [0.0, 3.0, 0.0])  # residuals -1, 2, -1; sum of squares 6; Sxx 2
    assert (found.value, found.high) == pytest.approx((0.0, T_1 * 3**0.5), rel=1e-4)


def label(round_id: int, arm: Arm, wrong_px: int, minutes: float | None) -> ArmLabel:
    return ArmLabel(round_id, arm, 1000, wrong_px, (0, wrong_px, 0), 5, minutes)


def test_arms_are_paired_within_rounds():
    """The third round has no control. Per label 100 and 50 pixels more than controls; in round 1 at twice the time."""
    found = arms.compare(
        [
            *(label(1, Arm.CHOSEN, wrong, 4.0) for wrong in (150, 250)),
            label(1, Arm.SHORTLIST, 100, 2.0),
            label(2, Arm.CHOSEN, 100, 2.0),
            label(2, Arm.SHORTLIST, 50, None),
            label(3, Arm.CHOSEN, 900, 1.0),
        ]
    )
    (pair,) = found.differences
    assert (pair.of, pair.minus, pair.wrong_px.count) == (Arm.CHOSEN, Arm.SHORTLIST, 2)
    assert pair.wrong_px.value == pytest.approx(75)
    assert pair.wrong_px.high == pytest.approx(75 + 25 * T_1, rel=1e-4)
    assert (pair.wrong_px_per_minute.value, pair.wrong_px_per_minute.low) == (400 / 8 - 50, None)  # round 1 alone
    chosen, shortlist = found.arms
    assert (chosen.labels, chosen.wrong_share.value) == (4, pytest.approx(1400 / 4000))
    assert chosen.wrong_px_of == (0, 350, 0)
    assert (shortlist.minutes.value, shortlist.minutes.count) == (2.0, 1)
    assert found.metrics()["arms.chosen_minus_shortlist.wrong_px"] == pytest.approx(75)
    assert "arms.chosen_minus_shortlist.minutes.low" not in found.metrics()  # one round has no spread


def test_nothing_is_told_of_nothing():
    assert arms.compare([]) == arms.Arms((), ())


def test_labels_are_read_with_what_they_found(catalog: Catalog) -> None:
    """Three pixels of class 1 were predicted as 0, one of class 2 as 1; a page left open counts as an hour."""
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, proposals = add_round(session, patches[:4])
        proposals[0].reason = ProposalReason.UNCERTAIN
        proposals[1].reason = proposals[2].reason = ProposalReason.CONTROL
        found = [[50, 0, 0], [3, 40, 0], [0, 1, 6]]
        session.add(label_of(session, proposals[0], 1, found=found, lead_time_s=120.0))
        session.add(label_of(session, proposals[1], 2, found=found, lead_time_s=90_000.0, simulated=True))
        session.add(label_of(session, proposals[2], 3, lead_time_s=60.0))  # the maps were gone
        session.add(label_of(session, proposals[3], 4, found=found))  # of a random round's kind
        session.flush()
        read = arms.read_labels(session)
        assert forecast.minutes_of_last(session, 3) == [1.0, 60.0]
    assert read == [
        ArmLabel(1, Arm.CHOSEN, 100, 4, (0, 3, 1), 7, 2.0),
        ArmLabel(1, Arm.POOL, 100, 4, (0, 3, 1), 7, 60.0, simulated=True),
    ]


def test_a_line_over_the_logarithm_of_labels_is_continued():
    """Each doubling brought exactly 0.1: from 40 to 60 labels it is 0.1 * log2(1.5)."""
    points = [CurvePoint(40, 0.7), CurvePoint(20, 0.6), CurvePoint(10, 0.5)]
    found = forecast.forecast(points, 20, [1.0, 3.0])
    assert found.gain.value == pytest.approx(0.0585, abs=1e-4)
    assert (found.gain.low, found.gain.high) == pytest.approx((0.0585, 0.0585), abs=1e-4)
    assert found.gain_per_label.value == pytest.approx(0.0585 / 20, rel=1e-2)
    assert (found.minutes.value, found.minutes.high) == pytest.approx((40.0, 40 + 20 * T_1), rel=1e-4)
    assert found.gain_per_minute.value == pytest.approx(0.0585 / 40, rel=1e-2)
    assert forecast.forecast(points[:2], 20, []) is None
    assert forecast.forecast(points, 20, []).minutes is None


@pytest.mark.parametrize(
    ("ious", "worth"),
    [((0.7, 0.6, 0.5), Worth.GO_ON), ((0.7001, 0.7, 0.7), Worth.STOP), ((0.7, 0.6, 0.7), Worth.CANNOT_TELL)],
)
def test_a_round_pays_only_if_the_interval_says_so(ious, worth):
    points = [CurvePoint(count, iou) for count, iou in zip((40, 20, 10), ious, strict=True)]
    expected = forecast.forecast(points, 20, [])
    assert forecast.worth(expected, 0.005, has_stabilised=False) is worth
    assert forecast.worth(None, 0.005, has_stabilised=False) is Worth.CANNOT_TELL
    if_stable = Worth.STOP if worth is Worth.CANNOT_TELL else worth
    assert forecast.worth(expected, 0.005, has_stabilised=True) is if_stable
    assert forecast.worth(None, 0.005, has_stabilised=True) is Worth.STOP


def test_versions_that_learnt_from_withdrawn_labels_are_left_out():
    def version(labels: int, **tags: str) -> VersionFigures:
        return VersionFigures.from_tags({"labels.count": f"{labels}", "validation.mean_iou": "0.5", **tags})

    affected = version(20, **{WITHDRAWN: withdrawals_tag({1: True})})
    assert affected.withdrawals == (1,)
    assert forecast.curve([version(30), affected, version(10)]) == [CurvePoint(30, 0.5), CurvePoint(10, 0.5)]


def test_versions_judged_on_another_truth_are_left_out():
    def version(labels: int, truth: str, iou: float = 0.5) -> VersionFigures:
        tags = {"labels.count": f"{labels}", "validation.mean_iou": f"{iou}", "validation.truth_sha256": truth}
        return VersionFigures.from_tags(tags)

    versions = [version(30, "new"), version(20, "new", float("nan")), version(10, "new"), version(5, "old")]
    assert forecast.curve(versions) == [CurvePoint(30, 0.5), CurvePoint(10, 0.5)]
