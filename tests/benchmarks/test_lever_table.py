import pytest

from benchmarks.lever_table import border_rows, calibration_rows, hierarchical_interval, lever_rows
from benchmarks.training_levers import PARTS, missing_parts


def cell(region: str, seed: int, gain: float, more: float | None = None):
    """A cell in which a lever gains so much over a base of 0.5, and another lever with its own base."""
    iou = {"base": [0.5, 0.9, 0.4, 0.2], "lever": [0.5 + gain, 0.9, 0.4 + gain, None]}
    if more is not None:
        iou |= {"base, 48 labels": [0.6, 0.9, 0.5, 0.4], "lever, 48 labels": [0.6 + more, 0.9, 0.5, 0.4 + more]}
    return {"region": region, "seed": seed, "part": PARTS[0], "iou": iou}


def test_a_lever_is_compared_with_its_own_base_region_by_region():
    """Two seeds of one region count as much as one seed of another: (0.2 + 0.1) / 2, not (0.2 + 0.2 + 0.1) / 3."""
    cells = [cell("a", 0, 0.1, 0.3), cell("a", 1, 0.3), cell("b", 0, 0.1, 0.1)]
    lever, more = lever_rows(cells)
    assert lever["difference"] == pytest.approx(0.15)
    assert (lever["regions"], lever["cells"], more["cells"]) == (2, 3, 2)
    assert (lever["base"], more["base"]) == pytest.approx((0.5, 0.6))
    assert (more["difference"], more["debris"]) == pytest.approx((0.2, 0.2))
    assert lever["clean"] == pytest.approx(0.15)


def test_the_interval_is_as_wide_as_regions_differ_however_many_seeds_there_are():
    few = hierarchical_interval({"a": [0.0], "b": [1.0]})
    many = hierarchical_interval({"a": [0.0] * 50, "b": [1.0] * 50})
    assert few == many == (0.5, 0.0, 1.0)


def test_regions_that_agree_are_as_uncertain_as_their_seeds():
    mean, low, high = hierarchical_interval({"a": [0.1, 0.3], "b": [0.1, 0.3]})
    assert mean == pytest.approx(0.2)
    assert (low, high) == pytest.approx((0.1, 0.3))


def test_p_values_are_corrected_for_the_number_of_levers():
    """Regions with gains 0.1, 0.2, 0.3: t = 0.2 / (0.1 / sqrt(3)) with 2 degrees of freedom, so p = 0.0742 for both."""
    cells = [cell(region, 0, gain, gain) for region, gain in (("a", 0.1), ("b", 0.2), ("c", 0.3))]
    assert [row["p"] for row in lever_rows(cells)] == pytest.approx([0.1484, 0.1484], abs=1e-4)


def test_calibration_and_border_are_means_over_regions():
    forms = {
        "none": {"errors": [0.1, 0.2, 0.3], "validation errors": [0.1, 0.1, 0.1], "log loss": 1.0, "iou": [0.5]},
        "temperature": {"errors": [0.0, 0.1, 0.1], "validation errors": [0.0, 0.0, 0.0], "log loss": 0.5, "iou": [0.5]},
        "vector": {"errors": [0.0, 0.0, 0.0], "validation errors": [0.0, 0.0, 0.0], "log loss": 0.4, "iou": [0.6]},
    }
    border = {"pixels": 0.12, "no context": {"share of top entropies": 0.3}, "border left out": {"ranking": {}}}
    cells = [{"region": "a", "calibration": forms, "border": border}]
    none, _, vector = calibration_rows(cells)
    assert (none["clean"], none["on validation"], none["mean IoU"]) == pytest.approx((0.2, 0.1, 0.0))
    assert vector["mean IoU"] == pytest.approx(0.1)
    plain, left_out = border_rows(cells)
    assert plain["top entropies in the outer pixels"] == pytest.approx(0.3)
    assert left_out["rank correlation"] is None


def test_a_stopped_run_has_one_seed_of_all_regions_first():
    done = [cell("a", 0, 0.1)]
    cheap, dear = PARTS
    assert missing_parts(["a", "b"], 1, done) == [(cheap, "b", 0), (dear, "a", 0), (dear, "b", 0)]
