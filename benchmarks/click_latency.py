"""How long does Label Studio wait for the answer to a click that mends, and how much of it is reading the scene?

``python -m benchmarks.click_latency [--clicks N]``

Starts the API and Redis as ``glacier-al up`` does, with the Everest scene (4 bands in two GeoTIFF files) and a proposal
of 64 px and one of 512 px on it. Each turn sends one click on either, in a fresh place of one of the classes, with the
earlier ones remembered by the server, as an annotator's are; and it opens the scene and reads the bands of the same
patch in this process, which the server need not do: it finds them in the store. A drift of the machine affects all
alike. Writes ``var/bench/click_latency.json``.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from sqlalchemy.orm import Session

from benchmarks.report import Result, markdown, publish
from benchmarks.scored_scene import services, wait
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
)
from catalog.settings import Strategy
from imagery.classes import GLACIER_SCHEME
from imagery.describe_scene import describe
from imagery.everest import prepare
from imagery.masks import mask_to_geotiff, rasterize_outlines
from imagery.scene_reader import SceneReader
from labeling.config import CLICK, IMAGE
from labeling.interactive import USER
from labeling.regions import CLICK_TYPE
from labeling.tasks import PROPOSAL
from services import raster_keys
from services.patch_bands import store_bands
from services.places import INTERACTIVE_ROUTE, raster_store
from services.scenes import source_of, window_of

SIZES_PX: Final = (64, 512)
WARM_UP: Final = 3
SHIFT_PX: Final = 5
"""Columns by which the proposals are shifted against the truth, so that there is something to mend."""


def add_proposals(catalog: Catalog) -> list[Proposal]:
    """Store the Everest scene and a waiting proposal of each size, with a pre-annotation."""
    everest = prepare(catalog.settings.scene_root / "everest")
    source = describe(everest.bands)
    truth = rasterize_outlines(everest.outlines, source.grid, GLACIER_SCHEME)
    scene = Scene(
        name="everest",
        role=SceneRole.POOL,
        state=SceneState.READY,
        source=source.to_json(),
        footprint=source.grid.footprint_wgs84().__geo_interface__,
        outlines=[],
        patch_size_px=SIZES_PX[0],
        patch_overlap_px=0,
    )
    with catalog.database.write() as session:
        proposals = [_add_proposal(session, scene, size) for size in SIZES_PX]
        for proposal in proposals:
            window = window_of(proposal.patch)
            rows, columns = window.slices
            shown = np.roll(truth[rows, columns], SHIFT_PX, axis=1)
            mask = mask_to_geotiff(shown, source.grid, GLACIER_SCHEME, window)
            raster_store(catalog).put(raster_keys.preannotation(proposal.uid, 1), mask)
            with SceneReader(source) as reader:
                store_bands(raster_store(catalog), reader, source, proposal.patch_id, window)
    return proposals


def _add_proposal(session: Session, scene: Scene, size_px: int) -> Proposal:
    patch = Patch(scene=scene, row_off=0, col_off=size_px // 4, size_px=size_px, valid_share=1.0)
    opened = Round(strategy=Strategy.RANDOM, size=1, seed=0, state=RoundState.OPEN)
    session.add_all([scene, patch, opened])
    session.flush()
    proposal = Proposal(
        round_id=opened.id,
        patch=patch,
        rank=0,
        reason=ProposalReason.RANDOM_START,
        state=ProposalState.PUBLISHED,
        preannotated_by=1,
    )
    session.add(proposal)
    session.flush()
    return proposal


def click_request(proposal: Proposal, number: int, generator: np.random.Generator) -> dict[str, Any]:
    """Return the body with which Label Studio passes a new click on, at a random place with a random label."""
    label = str(generator.choice([item.name for item in GLACIER_SCHEME.legend]))
    x, y = (float(percent) for percent in generator.uniform(0, 100, 2))
    region = {
        "id": f"click-{number}",
        "type": CLICK_TYPE,
        "from_name": CLICK,
        "to_name": IMAGE,
        "original_width": proposal.patch.size_px,
        "original_height": proposal.patch.size_px,
        "value": {"x": x, "y": y, CLICK_TYPE: [label]},
    }
    return {"tasks": [{"data": {PROPOSAL: proposal.uid}}], "params": {"context": {"result": [region]}}}


def answer(client: httpx.Client, body: dict[str, Any]) -> None:
    """Send a click and wait for the suggestions."""
    client.post(f"{INTERACTIVE_ROUTE}/predict", json=body).raise_for_status()


def read_bands(patch: Patch) -> None:
    """Open a scene and read the bands of a patch, which a publication does for the server (`services.patch_bands`)."""
    source = source_of(patch.scene)
    with SceneReader(source) as reader:
        reader.read(source.band_names, window_of(patch))


def seconds_of(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--clicks", type=int, default=40)
    return made


def main() -> None:
    """Measure, print the table, write the report."""
    clicks, generator = parser().parse_args().clicks, np.random.default_rng(0)
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        services(Path(folder), "redis", "api", interactive_clicks=True) as running,
    ):
        catalog = running.catalog
        proposals = add_proposals(catalog)
        login = (USER, catalog.secrets.interactive_password)
        taken: dict[tuple[int, str], list[float]] = {}
        with httpx.Client(base_url=catalog.settings.api_url, auth=login, timeout=60) as client:
            wait(lambda: _is_alive(client), "the API")
            for number in range(WARM_UP + clicks):
                for proposal in proposals:
                    size, body = proposal.patch.size_px, click_request(proposal, number, generator)
                    taken.setdefault((size, "answer"), []).append(seconds_of(partial(answer, client, body)))
                    taken.setdefault((size, "read"), []).append(seconds_of(partial(read_bands, proposal.patch)))
    for size in SIZES_PX:
        answered, reading = (1000 * np.array(taken[size, name][WARM_UP:]) for name in ("answer", "read"))
        rows.append(
            {
                "patch": f"{size} px",
                "answer p50 ms": float(np.median(answered)),
                "answer p95 ms": float(np.percentile(answered, 95)),
                "reading p50 ms": float(np.median(reading)),
                "share of reading": float(np.median(reading / answered)),
            }
        )
    print(markdown(rows))
    conditions = {"clicks": clicks, "load": os.getloadavg()[0]}
    publish(Result("click_latency", rows, seeds=[0], conditions=conditions))


def _is_alive(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
