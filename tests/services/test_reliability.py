"""The calibration curve of a version, from its card."""

import numpy as np
import pytest

from models.calibration import BINS, UNCALIBRATED
from services.reliability import middles, reliability_curves


def test_the_bins_are_those_that_cards_were_made_with() -> None:
    np.testing.assert_allclose(middles(BINS), UNCALIBRATED, rtol=1e-12)


def test_a_curve_tells_how_often_a_class_is_found_where_it_is_given_a_probability() -> None:
    half = [share / 2 for share in middles(BINS)]  # twice as sure as it may be
    card = {
        "classes": ["background", "ice"],
        "area_error": {"classes": {"ice": {"table": half}}, "background": middles(BINS)},
    }
    ice, background = reliability_curves(card)
    assert (ice.name, background.name) == ("ice", "background")
    assert ice.told == pytest.approx({0.1: 0.05, 0.5: 0.25, 0.9: 0.45})
    assert background.told == pytest.approx({0.1: 0.1, 0.5: 0.5, 0.9: 0.9})
    assert len(ice.points) == BINS


def test_cards_of_earlier_releases_have_none() -> None:
    assert reliability_curves({"classes": ["background", "ice"]}) == []


def test_a_class_that_the_validation_ground_lacks_has_no_curve() -> None:
    table = middles(BINS)
    classes = {"clean ice": {"table": table, "true_px": 9}, "debris": {"table": table, "true_px": 0}}
    card = {"classes": ["background", *classes], "area_error": {"classes": classes, "background": table}}
    assert [curve.name for curve in reliability_curves(card)] == ["clean ice", "background"]
    card["area_error"] = {"classes": {name: {**of, "true_px": 0} for name, of in classes.items()}, "background": table}
    assert reliability_curves(card) == []
