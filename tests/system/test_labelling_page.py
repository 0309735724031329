"""The labelling page in a real browser: the pre-annotation is seen, corrected and submitted, and arrives as drawn.

A correction is made by brush and eraser in one task, and by clicks that the server answers in another.
"""

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import select

from catalog.records import Label, Proposal, ProposalState
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME
from imagery.masks import mask_from_geotiff
from imagery.store import RasterStore
from labeling.regions import decode_result
from services import raster_keys
from tests.system.conftest import Stage
from tests.system.labelling_page import LabellingPage
from tests.system.loop_system import EXPERT, LoopSystem
from workers.label_drawing import draw

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SIDE = 64
REACH_PX = 4  # the brush is some two pixels wide; beyond this nothing may have changed


def preannotation(system: LoopSystem, proposal: Proposal) -> NDArray[np.uint8]:
    key = raster_keys.preannotation(proposal.uid, proposal.preannotated_by)
    return mask_from_geotiff(RasterStore(system.settings.raster_store).get(key), GLACIER_SCHEME)


def longest_run(wanted: NDArray[np.bool_]) -> tuple[int, int, int]:
    """The longest stretch of True in a row, away from the edges: row, first and last column."""
    best = (0, 0, 0)
    for row in range(8, SIDE - 8):
        start = None
        for column in range(4, SIDE - 3):
            inside = column < SIDE - 4 and wanted[row - 1 : row + 2, column].all()
            if inside and start is None:
                start = column
            elif not inside and start is not None:
                if column - 1 - start > best[2] - best[1]:
                    best = (row, start, column - 1)
                start = None
    return best


@pytest.fixture(scope="module")
def roomy(system: LoopSystem, uncertain_round: Stage) -> list[Proposal]:
    """The waiting proposals; first those whose pre-annotation leaves most room both to erase and to add."""
    waiting = [item for item in uncertain_round.proposals if system.state_of(item) is ProposalState.PUBLISHED]
    assert waiting, "test_loop.py answers the whole round: this file must run first, as it does by its name"
    waiting = [item for item in waiting if item.preannotated_by is not None]

    def room(item: Proposal) -> int:
        shown = preannotation(system, item)
        lengths = [end - start for _, start, end in (longest_run(shown == CLEAN_ICE.value), longest_run(shown == 0))]
        return min(lengths)

    return sorted(waiting, key=room, reverse=True)


def test_a_correction_arrives_as_drawn(system: LoopSystem, roomy: list[Proposal], chromium: str, tmp_path):
    proposal = roomy[0]
    shown = preannotation(system, proposal)
    ice, ice_start, ice_end = longest_run(shown == CLEAN_ICE.value)
    away = shown == 0
    away[max(0, ice - 2 * REACH_PX) : ice + 2 * REACH_PX] = False  # the two strokes must not meet
    rock, rock_start, rock_end = longest_run(away)
    assert min(ice_end - ice_start, rock_end - rock_start) >= 6

    assert proposal.project_id is not None and proposal.task_id is not None
    url = system.settings.label_studio_url
    with LabellingPage.open(chromium, url, EXPERT, proposal.project_id, proposal.task_id, SIDE) as page:
        assert "model version 1 is unsure here" in page.text or "drawn at random" in page.text
        present = [item.name for item in (CLEAN_ICE, DEBRIS_COVERED_ICE) if (shown == item.value).any()]
        assert page.regions == present
        check_visible(page.colours(), shown, true_colour(system, proposal))
        (tmp_path / "as-opened.png").write_bytes(page.screenshot())

        page.paint(DEBRIS_COVERED_ICE.name, (rock_start + 0.5, rock + 0.5), (rock_end + 0.5, rock + 0.5))
        assert page.regions == [*present, DEBRIS_COVERED_ICE.name]
        page.erase(0, (ice_start + 0.5, ice + 0.5), (ice_end + 0.5, ice + 0.5))
        (tmp_path / "corrected.png").write_bytes(page.screenshot())
        sent = page.submit()

    label, mask = stored(system, proposal)
    np.testing.assert_array_equal(mask, drawn(sent["result"]))
    assert (mask[rock, rock_start : rock_end + 1] == DEBRIS_COVERED_ICE.value).all()
    assert (mask[ice, ice_start : ice_end + 1] == 0).all()
    untouched = np.ones((SIDE, SIDE), bool)
    for row, start, end in ((rock, rock_start, rock_end), (ice, ice_start, ice_end)):
        untouched[row - REACH_PX : row + REACH_PX + 1, max(0, start - REACH_PX) : end + REACH_PX + 1] = False
    np.testing.assert_array_equal(mask[untouched], shown[untouched])
    assert label.edited_px == np.count_nonzero(mask != shown)
    assert (label.annotator, label.simulated) == (EXPERT[0], False)
    assert label.lead_time_s > 0


def test_clicks_repaint_the_map_that_is_seen_and_submitted(
    system: LoopSystem, roomy: list[Proposal], chromium: str, tmp_path
):
    proposal = roomy[1]
    shown, picture = preannotation(system, proposal), true_colour(system, proposal)
    ice, ice_start, ice_end = longest_run(shown == CLEAN_ICE.value)
    rock, rock_start, rock_end = longest_run(shown == 0)
    on_ice, on_rock = (ice, (ice_start + ice_end) // 2), (rock, (rock_start + rock_end) // 2)

    assert proposal.project_id is not None and proposal.task_id is not None
    url = system.settings.label_studio_url
    with LabellingPage.open(chromium, url, EXPERT, proposal.project_id, proposal.task_id, SIDE) as page:
        page.switch_on_clicks()
        once = drawn(page.mend("background", (on_ice[1] + 0.5, on_ice[0] + 0.5)))
        (tmp_path / "clicked.png").write_bytes(page.screenshot())
        check_visible(page.colours(), once, picture)
        twice = drawn(page.mend(DEBRIS_COVERED_ICE.name, (on_rock[1] + 0.5, on_rock[0] + 0.5)))
        (tmp_path / "clicked-twice.png").write_bytes(page.screenshot())
        sent = page.submit()

    assert once[on_ice] == twice[on_ice] == 0
    assert twice[on_rock] == DEBRIS_COVERED_ICE.value
    assert min(np.count_nonzero(once != shown), np.count_nonzero(twice != once)) >= 9  # more than the pixel clicked
    label, mask = stored(system, proposal)
    np.testing.assert_array_equal(mask, twice)
    np.testing.assert_array_equal(mask, drawn(sent["result"]))
    assert label.edited_px == np.count_nonzero(mask != shown)


def drawn(result: list[dict[str, Any]]) -> NDArray[np.uint8]:
    return draw(
        decode_result(result, height=SIDE, width=SIDE, labels=GLACIER_SCHEME.labels), SIDE, SIDE, GLACIER_SCHEME
    )


def stored(system: LoopSystem, proposal: Proposal) -> tuple[Label, NDArray[np.uint8]]:
    """The label of a proposal, as soon as it is there, and its mask."""
    system.wait_for_state(proposal, ProposalState.LABELLED)
    with system.catalog.read() as session:
        label = session.scalars(select(Label).where(Label.proposal_id == proposal.id)).one()
    return label, mask_from_geotiff(RasterStore(system.settings.raster_store).get(label.mask_key), GLACIER_SCHEME)


def true_colour(system: LoopSystem, proposal: Proposal) -> NDArray[np.float64]:
    png = RasterStore(system.settings.raster_store).get(raster_keys.view(proposal.patch_id, "true-colour"))
    return np.asarray(Image.open(io.BytesIO(png))).astype(np.float64)


def check_visible(seen: NDArray[np.uint8], shown: NDArray[np.uint8], picture: NDArray[np.float64]) -> None:
    """Under the pre-annotation the picture is tinted in the class's colour, and elsewhere it is as it was."""
    inside = np.zeros_like(shown, bool)  # pixels whose neighbours are of their class: masks are drawn with soft edges
    inside[1:-1, 1:-1] = np.logical_and.reduce(
        [shown[1 + i : SIDE - 1 + i, 1 + j : SIDE - 1 + j] == shown[1:-1, 1:-1] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    )
    bare = inside & (shown == 0)
    assert np.abs(seen[bare] - picture[bare]).mean() < 4
    tinted = inside & (shown == CLEAN_ICE.value)
    towards = np.array(CLEAN_ICE.rgb) - picture[tinted]
    change = seen[tinted] - picture[tinted]
    opacity = (change * towards).sum() / (towards**2).sum()
    assert 0.3 < opacity < 0.9  # seen, and seen through
    assert np.abs(change - opacity * towards).mean() < 4
