import pytest

from benchmarks.lever_table import border_rows, calibration_rows, lever_rows
from benchmarks.training_levers import PARTS, missing_parts


def cell(region: str, seed: int, gain: float, more: float | None = None):
    """A cell in which a lever gains so much over a base of 0.5, and another lever with its own base."""
    iou = {"base": [0.5, 0.9, 0.4, 0.2], "lever": [0.5 + gain, 0.9, 0.4 + gain, None]}
    if more is not None:
        iou |= {"base, 48 labels": [0.6, 0.9, 0.5, 0.4], "lever, 48 labels": [0.6 + more, 0.9, 0.5, 0.4 + more]}
    return {"region": region, "seed": seed, "part": PARTS[0], "iou": iou}


def test_a_lever_is_compared_with_its_own_base_place_by_place():
    """Two splits of one scene count as much as another scene: (0.2 + 0.1) / 2, not (0.1 + 0.3 + 0.1) / 3."""
    cells = [cell("everest-west", 0, 0.1, 0.3), cell("everest-east", 0, 0.3), cell("baltoro", 0, 0.1, 0.1)]
    rows = {row["lever"]: row for row in lever_rows(cells)}
    lever, more = rows["lever"], rows["lever, 48 labels"]
    assert lever["difference"] == pytest.approx(0.15)
    assert (lever["places"], lever["cells"], lever["better"], more["cells"]) == (2, 3, 3, 2)
    assert (lever["base"], more["base"]) == pytest.approx((0.5, 0.6))
    assert (more["difference"], more["debris"]) == pytest.approx((0.2, 0.2))
    assert lever["clean"] == pytest.approx(0.15)
    assert lever["debris"] is None  # no cell defines it


def test_p_values_are_corrected_for_the_number_of_levers():
    """Places with gains 0.1, 0.2, 0.3: t = 0.2 / (0.1 / sqrt(3)) with 2 degrees of freedom, so p = 0.0742 for both."""
    cells = [cell(region, 0, gain, gain) for region, gain in (("baltoro", 0.1), ("oetztal", 0.2), ("much-ice", 0.3))]
    assert [row["p"] for row in lever_rows(cells)] == pytest.approx([0.1484, 0.1484], abs=1e-4)


def test_errors_of_calibration_are_means_over_places_with_the_interval_of_their_change():
    def forms(region: str, error: float) -> dict[str, object]:
        found = {
            name: {"errors": [error * factor] * 3, "validation errors": [0.1] * 3, "log loss": factor}
            for name, factor in (("base", 1.0), ("temperature", 0.5), ("vector scaling", 0.0))
        }
        return {"region": region, "seed": 0, "calibration": found}

    base, temperature, vector = calibration_rows([forms("baltoro", 0.1), forms("oetztal", 0.3)])
    assert (base["clean"], temperature["clean"], vector["clean"]) == pytest.approx((0.2, 0.1, 0.0))
    assert (temperature["change, low"], temperature["change, high"]) == pytest.approx((-0.15, -0.05))
    assert (base["where it was fitted"], temperature["log loss"]) == pytest.approx((0.1, 0.5))


def test_what_a_way_of_scoring_does_not_measure_is_left_empty():
    border = {"pixels": 0.12, "no context": {"share of top entropies": 0.3}, "border left out": {"ranking": {}}}
    plain, left_out = border_rows([{"region": "baltoro", "seed": 0, "border": border}])
    assert plain["top entropies in the outer pixels"] == pytest.approx(0.3)
    assert left_out["rank correlation"] is None


def test_a_stopped_run_has_the_first_part_of_all_regions_first():
    done = [cell("baltoro", 0, 0.1)]
    first, *others = PARTS
    rest = [(part, region, 0) for part in others for region in ("baltoro", "oetztal")]
    assert missing_parts(["baltoro", "oetztal"], 1, done) == [(first, "oetztal", 0), *rest]
