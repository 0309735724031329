"""Rows, files and webhooks of a round that waits for its labels, and what Label Studio answers about its users."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from catalog.context import Catalog
from catalog.records import (
    Patch,
    Proposal,
    ProposalReason,
    ProposalState,
    Round,
    RoundState,
    Scene,
    SceneRole,
    SceneState,
    Scoring,
    now,
)
from imagery.classes import GLACIER_SCHEME
from imagery.cog import class_map_to_cog
from imagery.describe_scene import describe
from imagery.grid import Window
from imagery.masks import mask_to_geotiff
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.synthetic import write_scene
from labeling.predictions import MODEL_VERSION
from labeling.regions import encode_brush
from services import raster_keys
from services.places import raster_store

PATCH_PX: Final = 512
SCENE_PX: Final = 2048
PROJECT_ID: Final = 1
DRAWINGS: Final = 16
"""Different drawings; those of many webhooks repeat."""
ANNOTATOR: Final = {"id": 7, "email": "annotator@example.org"}
_WAVES_PX: Final = (60, 200)  # wavelengths of the edges in a drawing; its webhook then has about 260 kB


def write_source(folder: Path) -> SceneSource:
    """Write a synthetic scene of Landsat 7, with elevation."""
    synthetic = write_scene(folder, SCENE_PX, SCENE_PX, seed=0)
    return describe(synthetic.bands, dem=synthetic.dem)


def open_round(catalog: Catalog, source: SceneSource, proposals: int) -> list[str]:
    """Add a pool scene with a scored map, and a round whose proposals wait, each with a pre-annotation.

    The patches overlap, so that a small scene has many.

    Returns:
        The uids of the proposals; the first is that of task 1.
    """
    windows = _windows(proposals)
    store, mask = raster_store(catalog), _drawn(0)
    with catalog.write() as session:
        scene_id = _add_scene(session, source, windows)
        scoring = Scoring(model_version=1, passes=20, seed=0, completed_at=now())
        session.add(scoring)
        session.flush()
        uids = _add_round(session, scoring.id, scene_id)
    scored = np.tile(mask, (SCENE_PX // PATCH_PX, SCENE_PX // PATCH_PX))
    key = raster_keys.scored(scoring.id, scene_id, "classes")
    store.put(key, class_map_to_cog(scored, source.grid, GLACIER_SCHEME))
    for uid, window in zip(uids, windows, strict=True):
        shown = mask_to_geotiff(mask, source.grid, GLACIER_SCHEME, window)
        store.put(raster_keys.preannotation(uid, 1), shown)
    return uids


def _windows(count: int) -> list[Window]:
    """Return windows of the scene, spread evenly."""
    side = int(np.ceil(np.sqrt(count)))
    offsets = np.linspace(0, SCENE_PX - PATCH_PX, side).astype(int).tolist()
    return [Window(row, column, PATCH_PX, PATCH_PX) for row in offsets for column in offsets][:count]


def _add_scene(session: Session, source: SceneSource, windows: Sequence[Window]) -> int:
    scene = Scene(
        name="synthetic",
        role=SceneRole.POOL,
        state=SceneState.READY,
        source=source.to_json(),
        footprint=source.grid.footprint_wgs84().__geo_interface__,
        outlines=[],
        patch_size_px=PATCH_PX,
        patch_overlap_px=0,
    )
    session.add(scene)
    session.flush()
    with SceneReader(source) as reader:
        valid = reader.valid_mask(source.grid.window)
    rows = [
        {
            "scene_id": scene.id,
            "row_off": window.row_off,
            "col_off": window.col_off,
            "size_px": PATCH_PX,
            "valid_share": float(valid[window.row_off :, window.col_off :][:PATCH_PX, :PATCH_PX].mean()),
        }
        for window in windows
    ]
    session.execute(insert(Patch), rows)
    return scene.id


def _add_round(session: Session, scoring_id: int, scene_id: int) -> list[str]:
    patch_ids = list(session.scalars(select(Patch.id).where(Patch.scene_id == scene_id).order_by(Patch.id)))
    opened = Round(strategy="random", size=len(patch_ids), seed=0, state=RoundState.OPEN, scoring_id=scoring_id)
    session.add(opened)
    session.flush()
    proposals = [
        Proposal(
            round_id=opened.id,
            patch_id=patch_id,
            rank=rank,
            reason=ProposalReason.UNCERTAIN,
            state=ProposalState.PUBLISHED,
            project_id=PROJECT_ID,
            task_id=rank + 1,
            preannotated_by=1,
        )
        for rank, patch_id in enumerate(patch_ids)
    ]
    session.add_all(proposals)
    session.flush()
    return [proposal.uid for proposal in proposals]


@cache
def _drawn(seed: int) -> NDArray[np.uint8]:
    """Return a mask (512, 512) of three classes with wavy edges, other ones for each seed."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:PATCH_PX, :PATCH_PX]
    height = np.zeros((PATCH_PX, PATCH_PX))
    for angle, phase, length in zip(
        generator.uniform(0, np.pi, 24), generator.uniform(0, 2 * np.pi, 24), np.geomspace(*_WAVES_PX, 24), strict=True
    ):
        height += np.sin(2 * np.pi * (rows * np.sin(angle) + columns * np.cos(angle)) / length + phase)
    return np.digitize(height, np.quantile(height, [0.4, 0.7])).astype(np.uint8)


def webhook(number: int, uid: str, task_id: int) -> bytes:
    """Return what Label Studio sends of a new annotation: a brush mask of each class, and the prediction shown."""
    mask, shown = _drawn(number % DRAWINGS), _drawn(0)
    stamp = now().isoformat()
    annotation = {
        "id": number,
        "unique_id": f"{number:032x}",
        "result": _regions(mask),
        "prediction": {"id": task_id, "result": _regions(shown), "model_version": MODEL_VERSION, "task": task_id},
        "was_cancelled": False,
        "created_at": stamp,
        "updated_at": stamp,
        "lead_time": 30.0,
        "completed_by": ANNOTATOR["id"],
        "task": task_id,
        "project": PROJECT_ID,
    }
    task = {"id": task_id, "project": PROJECT_ID, "data": {"proposal": uid}}
    sent = {"action": "ANNOTATION_CREATED", "annotation": annotation, "project": {"id": PROJECT_ID}, "task": task}
    return json.dumps(sent).encode()


def _regions(mask: NDArray[np.uint8]) -> list[dict[str, Any]]:
    names = GLACIER_SCHEME.names
    return [encode_brush(mask == value, names[value], f"b{value}") for value in (1, 2)]


@contextmanager
def answering_about_users(url: str) -> Iterator[list[str]]:
    """Answer in place of Label Studio, with its one user, while the block lasts; yield the paths that were asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps([ANNOTATOR]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    parts = urlsplit(url)
    with ThreadingHTTPServer((parts.hostname or "", parts.port or 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield asked
        server.shutdown()
