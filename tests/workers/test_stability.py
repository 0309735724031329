"""Agreement between the predictions of successive versions."""

from dataclasses import replace

import numpy as np
import pytest

import workers.stability
from catalog.context import Catalog
from catalog.records import PatchState
from imagery.classes import UNKNOWN
from services.stability import Agreement, has_stabilised, read
from tests.catalog.conftest import database_url
from tests.catalog_fixtures import add_scene, add_scoring
from workers.stability import agreement, count_pairs, sample

__all__ = ["database_url"]  # integers are smaller on PostgreSQL


def test_kappa_of_a_class_is_that_against_the_rest():
    """Of 100 pixels both call 89 background and 3 ice, and none debris; on 8 they differ.

    By chance they agree on (92 * 94 + 8 * 6) / 100^2 = .8696, in fact on .92: kappa is .0504 / .1304.
    Background against the rest is the same table, since nothing but ice is in the rest.
    """
    found = agreement(3, 2, 1, np.array([[89, 3, 0], [5, 3, 0], [0, 0, 0]]))
    by_chance = (92 * 94 + 8 * 6) / 100**2
    expected = (0.92 - by_chance) / (1 - by_chance)
    assert found.kappa == pytest.approx(expected)
    assert found.kappa_of == (pytest.approx(expected), pytest.approx(expected), None)
    assert found.pixels_of == (97, 11, 0)
    assert found.least == found.kappa


def test_a_rare_class_shows_what_the_whole_hides():
    """Of 10 000 pixels 30 are debris for one version and 30 others for the next: the whole agrees to .98."""
    counts = np.array([[7000, 0, 30], [0, 2910, 0], [30, 0, 30]])
    found = agreement(3, 2, 1, counts)
    assert found.kappa > 0.98
    assert found.least == found.kappa_of[2] == pytest.approx(0.497, abs=1e-3)


def test_pixels_that_a_map_does_not_know_are_left_out():
    earlier, later = np.array([[0, 1, UNKNOWN, 2]], np.uint8), np.array([[0, 2, 1, UNKNOWN]], np.uint8)
    np.testing.assert_array_equal(count_pairs(earlier, later, 3), [[1, 0, 0], [0, 0, 1], [0, 0, 0]])


def alike(version: int, kappa: float = 0.995, before: int | None = None) -> Agreement:
    return Agreement(version, version - 1 if before is None else before, 10, kappa, (kappa, None), (9, 0))


@pytest.mark.parametrize(
    ("agreements", "expected"),
    [
        ([alike(5), alike(4), alike(3)], True),
        ([alike(5), alike(4)], False),
        ([alike(5), alike(4, 0.98), alike(3)], False),
        ([alike(5), alike(4), alike(3), alike(2, 0.5)], True),
        ([alike(5), alike(3), alike(2)], False),  # version 4 was compared with neither
        ([alike(5, before=3), alike(3), alike(2)], True),  # version 4 was never scored
        ([replace(alike(5), kappa=None, kappa_of=(None, None)), alike(4), alike(3)], False),
    ],
)
def test_three_comparisons_in_a_row_must_agree(agreements, expected):
    assert has_stabilised(agreements, 0.99) is expected


def test_the_newest_agreement_of_each_version_is_read(catalog: Catalog):
    with catalog.database.write() as session:
        for version, kappa in ((2, 0.8), (3, 0.9), (2, 0.85)):
            scoring = add_scoring(session, version, {})
            scoring.stability, scoring.removed_at = alike(version, kappa).to_json(), scoring.completed_at
    with catalog.read() as session:
        found = read(session)
    assert found == [alike(3, 0.9), alike(2, 0.85)]
    assert found[0].metrics(["background", "ice"]) == {"stability.kappa": 0.9, "stability.kappa.background": 0.9}


def test_the_sample_stays_when_patches_are_proposed_or_added(catalog: Catalog, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers.stability, "PATCHES", 8)
    with catalog.database.write() as session:
        add_scene(session, width=320, height=320)
        first = [patch.id for patch in sample(session)]
        sample(session)[2].state = PatchState.LABELLED
        session.flush()
        without = [patch.id for patch in sample(session)]
        assert without[:7] == [*first[:2], *first[3:]]
        assert len({patch // 20 for patch in first}) >= 4  # of five fifths of a hundred patches
        add_scene(session, "another", width=320, height=320, offset_px=1000)
        more = [patch.id for patch in sample(session)]
        assert [patch for patch in more if patch <= 100] == without[: sum(patch <= 100 for patch in more)]
