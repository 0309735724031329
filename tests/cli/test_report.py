import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
import pytest
from sqlalchemy.orm import Session

from catalog.context import Catalog
from catalog.records import (
    Label,
    LabelEvent,
    Patch,
    PatchState,
    Proposal,
    ProposalReason,
    ProposalState,
    Round,
    RoundState,
    Scene,
    SceneRole,
    SceneState,
    Scoring,
)
from catalog.settings import Settings, Strategy
from cli.report import headline, write_files
from cli.report_content import Content, gather
from cli.report_pictures import (
    AGREEMENTS,
    CONFUSED,
    INVENTED,
    MISSED,
    RIGHT_GROUND,
    RIGHT_ICE,
    compare,
    data_uri,
    draw_agreement,
    draw_mask,
    read_png,
)
from cli.round_record import RoundRecord
from imagery.classes import BACKGROUND, CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME, UNKNOWN
from imagery.cog import float_map_writer
from imagery.composites import encode_png
from imagery.describe_scene import describe
from imagery.grid import Window
from imagery.masks import mask_to_geotiff
from imagery.store import RasterStore
from services import raster_keys
from services.arms import Arms
from tests.imagery.forge import ForgedScene, forge_scene
from workers.publication import UNTRAINED

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
SIZE = 32


def iou(mean: float) -> dict[str, float | None]:
    return {"mean": mean, **{item.name: mean for item in GLACIER_SCHEME.classes}}


def record(number: int, test_mean: float, *, champion: int, promoted: bool = True) -> RoundRecord:
    return RoundRecord(
        round=number,
        strategy=["prior outlines", "random", "entropy_top10"][number],
        labels=number,
        version=number + 1,
        parent=number or None,
        promoted=promoted,
        verdict="mean IoU changed by <-0.050>" if number else "the first version",
        iou={"validation": iou(0.5), "test": iou(test_mean)},
        gain={"validation": iou(-0.05)} if number else {},
        champion=champion,
        seconds={"label": 2.0, "fine-tune": 3.5},
    )


EXPECTED_EDITS = {
    "model_version": 1,
    "screening": False,
    "asked_px": SIZE**2,
    "from_empty_px": 500.0,
    "from_proposal_px": 12.25,
}
RECORDS = [record(0, 0.125, champion=1), record(1, 0.25, champion=2), record(2, 0.75, champion=3)]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(Settings(var_dir=tmp_path / "var"))
    opened.database.migrate()
    yield opened
    opened.close()


@pytest.fixture
def forged(catalog: Catalog, tmp_path: Path) -> dict[SceneRole, ForgedScene]:
    """A loop that went round twice: a random patch labelled from nothing, then an uncertain one corrected."""
    scenes = {role: forge_scene(tmp_path / f"{role}.tif", offset_px=200 * i) for i, role in enumerate(SceneRole)}
    store = RasterStore(catalog.settings.raster_store)
    with catalog.write() as session:
        for role, scene in scenes.items():
            session.add(scene_row(role, scene))
        session.add(Scoring(model_version=2, passes=20, seed=0, completed_at=MOMENT))
        session.flush()
        label_patch(session, store, scenes[SceneRole.POOL], number=1, place=(0, 32))
        label_patch(session, store, scenes[SceneRole.POOL], number=2, place=(64, 96))
    pool = scenes[SceneRole.POOL]
    store.put(raster_keys.scored(1, 1, "classes"), mask_to_geotiff(pool.truth, pool.grid, GLACIER_SCHEME))
    with float_map_writer(tmp_path / "entropy.tif", pool.grid, "entropy (nats)") as write:
        write(0, np.full((100, 160), 0.5, dtype=np.float32))
    store.put_file(raster_keys.scored(1, 1, "entropy"), tmp_path / "entropy.tif")
    test = scenes[SceneRole.TEST]
    store.put(raster_keys.truth(3), mask_to_geotiff(test.truth, test.grid, GLACIER_SCHEME))
    return scenes


def scene_row(role: SceneRole, scene: ForgedScene) -> Scene:
    return Scene(
        name=f"forged-{role}",
        role=role,
        state=SceneState.READY,
        source=describe(scene.bands).to_json(),
        footprint={},
        outlines=[],
        patch_size_px=SIZE,
        patch_overlap_px=0,
        patch_count=2 if role is SceneRole.POOL else 0,
        stretch={band.name: [0.0, 255.0] for band in scene.bands},
    )


def label_patch(session: Session, store: RasterStore, pool: ForgedScene, number: int, place: tuple[int, int]) -> None:
    """Propose and label one patch; the second one is uncertain and comes with a pre-annotation."""
    first, window = number == 1, Window(*place, SIZE, SIZE)
    patch = Patch(
        scene_id=1, row_off=place[0], col_off=place[1], size_px=SIZE, valid_share=1.0, state=PatchState.LABELLED
    )
    strategy = Strategy.RANDOM if first else Strategy.ENTROPY_TOP10
    session.add_all([patch, Round(strategy=strategy, size=1, seed=number, state=RoundState.COMPLETE)])
    session.flush()
    proposal = Proposal(
        uid=f"uid{number}",
        round_id=number,
        patch_id=patch.id,
        rank=0,
        reason=ProposalReason.RANDOM_START if first else ProposalReason.UNCERTAIN,
        score=None if first else 0.9,
        state=ProposalState.LABELLED,
        shown_version=UNTRAINED if first else "version 1",
        preannotated_by=None if first else 1,
        expected_edits=None if first else EXPECTED_EDITS,
        views={"true_colour": "true-colour", "false_colour": "false-colour", "uncertainty": "uncertainty-1"},
    )
    event = LabelEvent(dedupe_key=str(number), action="ANNOTATION_CREATED", origin="webhook", body=b"{}")
    session.add_all([proposal, event])
    session.flush()
    mask = mask_to_geotiff(pool.truth[window.slices], pool.grid, GLACIER_SCHEME, window)
    if not first:
        store.put(raster_keys.preannotation(proposal.uid, 1), mask)
    for name in proposal.views or {}:
        store.put(raster_keys.view(patch.id, (proposal.views or {})[name]), encode_png(np.zeros((SIZE, SIZE, 3), "u1")))
    key = raster_keys.label(patch.id, number, event.id)
    session.add(
        Label(
            patch_id=patch.id,
            proposal_id=proposal.id,
            event_id=event.id,
            project_id=1,
            annotation_id=number,
            annotated_at=MOMENT,
            mask_key=key,
            mask_sha256=store.put(key, mask),
            annotator="simulated-annotator@glacier.local",
            simulated=True,
            edited_px=512 if first else 0,
            found=None if first else [[1000, 0, 0], [24, 0, 0], [0, 0, 0]],
        )
    )


def written(catalog: Catalog, forged: Mapping[SceneRole, ForgedScene], folder: Path, seconds: float = 150.0) -> Path:
    content = gather(catalog, RECORDS, seconds)
    store = RasterStore(catalog.settings.raster_store)
    return write_files(folder, content, store, forged[SceneRole.TEST].truth)


def test_json_tells_of_every_round_what_the_contract_names(
    catalog: Catalog, forged: dict[SceneRole, ForgedScene], tmp_path: Path
) -> None:
    written(catalog, forged, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["annotator"], report["seconds"]) == ("simulated", 150.0)
    assert report["machine"].keys() == {"cores", "python", "torch", "device"}
    assert report["regions"]["test"] == {
        "name": "forged-test",
        "height_px": 100,
        "width_px": 160,
        "crs": "EPSG:32645",
        "patches": 0,
    }
    taught, first, second = report["rounds"]
    assert (taught["round"], taught["version"], taught["parent"], taught["labels"]) == (0, 1, None, 0)
    assert taught["gate"] == {"promoted": True, "reason": "the first version", "evidence": None}
    assert (taught["labelled_patches"], taught["edited_share_mean"]) == ([], None)
    assert (first["round"], first["version"], first["parent"], first["labels"], first["champion"]) == (1, 2, 1, 1, 2)
    assert second["iou"]["test"]["debris-covered ice"] == 0.75
    assert second["gain"]["validation"]["mean"] == -0.05
    assert second["seconds"] == {"label": 2.0, "fine-tune": 3.5}
    # 512 of 32 x 32 pixels
    assert first["labelled_patches"] == [
        {
            "patch_id": 1,
            "row_off": 0,
            "col_off": 32,
            "reason": "random start",
            "score": None,
            "edited_px": 512,
            "edited_share": 0.5,
        }
    ]
    assert (first["edited_share_mean"], second["edited_share_mean"]) == (0.5, 0.0)
    assert second["labelled_patches"][0]["score"] == 0.9
    empty, proposal = report["effort"]
    assert (empty["start"], empty["edited_px"], empty["check"]) == ("empty mask", 512, None)
    assert (proposal["start"], proposal["check"]["expected_px"], proposal["check"]["edited_px"]) == (
        "proposal",
        12.25,
        0,
    )
    (chosen,) = report["arms"]["arms"]  # the random round has no arm; 24 of 1,024 pixels were wrong
    assert (chosen["arm"], chosen["labels"], chosen["wrong_px"]["value"]) == ("chosen", 1, 24)
    assert chosen["wrong_share"] == {"value": 24 / 1024, "low": None, "high": None, "count": 1}
    assert report["arms"]["differences"] == []


def test_a_figure_that_is_not_a_number_is_refused(
    catalog: Catalog, forged: dict[SceneRole, ForgedScene], tmp_path: Path
) -> None:
    content = gather(catalog, [RECORDS[0], record(1, float("nan"), champion=2)], 1.0)
    store = RasterStore(catalog.settings.raster_store)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_files(tmp_path, content, store, forged[SceneRole.TEST].truth)


def test_page_is_self_contained(catalog: Catalog, forged: dict[SceneRole, ForgedScene], tmp_path: Path) -> None:
    page = written(catalog, forged, tmp_path).read_text()
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page))
    sources = re.findall(r'(?:src|href)="([^"]{0,22})', page)
    assert set(sources) == {"data:image/png;base64,", "data:image/svg+xml;bas"}
    # four maps of the test region, three of the pool; two composites and a label a patch, and for the second patch its
    # uncertainty and its pre-annotation; two charts
    assert len(sources) == 4 + 3 + 2 * 3 + 2 + 2
    images = re.findall(r"<img [^>]*>", page)
    assert all(re.search(r'alt="[^"]+"', image) for image in images)


def test_page_shows_the_figures(catalog: Catalog, forged: dict[SceneRole, ForgedScene], tmp_path: Path) -> None:
    page = written(catalog, forged, tmp_path).read_text()
    assert re.search(
        r"From a pre-annotation, whole patches: 12 changed pixels were expected\s+in 1 labels, 0 were", page
    )
    assert "0.750" in page
    assert "−0.050" in page
    assert "no model yet" in page
    assert "began empty" in page
    assert "ice, right kind" in page
    assert page.count("stroke-dasharray") == 3  # the random patch, on the three maps of the pool
    assert "random start, from an empty mask" in page
    assert "uncertain, from a pre-annotation" in page


def test_page_says_why_a_version_was_kept_back(
    catalog: Catalog, forged: dict[SceneRole, ForgedScene], tmp_path: Path
) -> None:
    records = [*RECORDS[:2], record(2, 0.1, champion=2, promoted=False)]
    content = gather(catalog, records, 60.0)
    page = write_files(
        tmp_path, content, RasterStore(catalog.settings.raster_store), forged[SceneRole.TEST].truth
    ).read_text()
    assert "Version 3 was kept back: mean IoU changed by &lt;-0.050&gt;." in page
    assert content.served[-1].version == 2


def test_page_tells_what_a_further_round_is_expected_to_bring(
    catalog: Catalog, forged: dict[SceneRole, ForgedScene], tmp_path: Path
) -> None:
    outlook = {
        "next_round": {"more": 8, "versions": 3, "gain": {"value": 0.0126, "low": -0.01, "high": 0.035}},
        "agreements": [{"version": 3, "before": 2, "kappa": 0.913, "least": 0.72}],
        "worth": "cannot tell",
    }
    content = gather(catalog, RECORDS, 60.0, outlook=outlook)
    store = RasterStore(catalog.settings.raster_store)
    page = write_files(tmp_path, content, store, forged[SceneRole.TEST].truth).read_text()
    assert "of 8 labels is expected to change the mean IoU" in page
    assert "+0.013" in page
    assert "[-0.010, +0.035]" in page
    assert "Whether it pays cannot be told yet." in page
    assert "a kappa of 0.91, 0.72 in the class where they differ most" in page
    assert json.loads((tmp_path / "report.json").read_text())["outlook"] == outlook


@pytest.mark.parametrize(
    ("records", "seconds", "expected"),
    [
        (
            RECORDS,
            250.0,
            "After 2 labelled patches and 4 minutes, the served model maps ground that nobody labelled with a mean "
            "IoU of 0.75, up from 0.12 with old outlines alone.",
        ),
        (
            [record(0, 0.5, champion=1), record(1, 0.9, champion=1, promoted=False)],
            60.0,
            "After 1 labelled patch and 60 seconds, the served model maps ground that nobody labelled with a mean "
            "IoU of 0.50, unchanged from 0.50 with old outlines alone. It learnt from 0 of them: no version",
        ),
    ],
)
def test_headline_claims_no_more_than_the_figures(records: list[RoundRecord], seconds: float, expected: str) -> None:
    assert headline(bare_content(records, seconds)).startswith(expected)


def bare_content(records: list[RoundRecord], seconds: float) -> Content:
    scoring = Scoring(model_version=1, passes=20, seed=0)
    return Content(
        records=records,
        seconds=seconds,
        scenes={},
        patches=[],
        pool_patches=0,
        scoring=scoring,
        machine={},
        arms=Arms((), ()),
        effort=[],
        levers=[],
        comparisons=[],
        outlook={},
    )


def test_nothing_to_report_is_an_error(catalog: Catalog) -> None:
    with pytest.raises(click.ClickException, match="found no round"):
        gather(catalog, RECORDS[:1], 1.0)
    with pytest.raises(click.ClickException, match="no ready scene with the role pool or validation or test"):
        gather(catalog, RECORDS, 1.0)


def test_every_judged_pixel_is_in_exactly_one_agreement() -> None:
    ground, clean, debris, unknown = (BACKGROUND, CLEAN_ICE.value, DEBRIS_COVERED_ICE.value, UNKNOWN)
    truth = np.array([[ground, clean, clean, ground, debris, unknown, clean]], dtype=np.uint8)
    predicted = np.array([[ground, clean, debris, clean, ground, clean, unknown]], dtype=np.uint8)
    parts = compare(predicted, truth)
    found = [[kind for kind in AGREEMENTS if parts[kind][0, i]] for i in range(7)]
    assert found == [[RIGHT_GROUND], [RIGHT_ICE], [CONFUSED], [INVENTED], [MISSED], [], []]
    assert draw_agreement(parts)[0, 5].tolist() == list(GLACIER_SCHEME.unknown.rgb)
    assert draw_agreement(parts)[0, 3].tolist() == list(INVENTED.rgb)


def test_maps_of_different_shape_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) for a truth of \(3, 2\)"):
        compare(np.zeros((2, 3), dtype=np.uint8), np.zeros((3, 2), dtype=np.uint8))


def test_masks_take_the_colours_of_the_legend() -> None:
    picture = draw_mask(np.array([[CLEAN_ICE.value, UNKNOWN]], dtype=np.uint8))
    assert picture.tolist() == [[list(CLEAN_ICE.rgb), list(GLACIER_SCHEME.unknown.rgb)]]


def test_an_enlarged_picture_keeps_its_pixels_sharp() -> None:
    rgb = np.array([[[255, 0, 0], [0, 0, 255]]], dtype=np.uint8)
    enlarged = read_png(b64decode(data_uri(rgb, 3).removeprefix("data:image/png;base64,")))
    assert enlarged.shape == (3, 6, 3)
    assert (enlarged[:, :3] == rgb[0, 0]).all()
    assert (enlarged[:, 3:] == rgb[0, 1]).all()
