"""The rounds of the demonstration: old outlines teach version 1, then a simulated annotator labels round by round."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click
import numpy as np
from numpy.typing import NDArray

from catalog.context import Catalog
from cli.demo_table import line
from cli.everest import AGEING, everest_scenes
from cli.round_record import RoundRecord
from cli.scene_commands import register_here, registered
from cli.server import wait_for_jobs, wait_until
from cli.simulated_annotator import SimulatedAnnotator, sign_in
from glacier_al_client.client import Client
from glacier_al_client.types import RoundRequest
from imagery.classes import GLACIER_SCHEME
from imagery.describe_scene import describe
from imagery.everest import prepare, write_old_outlines
from imagery.grid import Window
from imagery.masks import rasterize_outlines
from labeling.client import LabelStudio
from services.label_studio import connect

PRIOR_OUTLINES: Final = "prior outlines"
"""What stands for a strategy before the first round."""


class Demonstration:
    """A running system with the Everest scene, and what happened in it.

    Args:
        catalog: Its catalog.
        seed: Of all that is random in the demonstration.

    Attributes:
        truth: (H, W) class values of the pool, which the simulated annotator draws.
    """

    def __init__(self, catalog: Catalog, seed: int) -> None:
        self._catalog, self._seed = catalog, seed
        self._api = Client(catalog.settings.api_url, catalog.secrets.operator_token)
        folder = catalog.settings.scene_root / "everest"
        everest = prepare(folder)
        pool = describe(everest.bands, everest.regions["pool"]).grid
        self.truth: NDArray[np.uint8] = rasterize_outlines(everest.outlines, pool, GLACIER_SCHEME)
        self._requests = everest_scenes(
            everest, write_old_outlines(everest, folder / "old_outlines.gpkg", AGEING, seed)
        )

    def run(self, rounds: int) -> list[RoundRecord]:
        """Run the loop; return what version 1 brought, and then each round.

        Raises:
            ClickException: a part failed; its message says which.
        """
        records = [self._learn_old_outlines()]
        click.echo(line(records[0]))
        annotator = self._annotator()
        for number in range(1, rounds + 1):
            records.append(self._run_round(annotator, number))
            click.echo(line(records[-1]))
        return records

    def _learn_old_outlines(self) -> RoundRecord:
        seconds: dict[str, float] = {}
        with _stage(seconds, "register"):
            for request in self._requests:
                click.echo(registered(register_here(request)))
            wait_until(self._api, "the scenes", lambda: all(item.state == "ready" for item in self._api.scenes()))
        self._train_and_score(seconds, 1)
        return self._record(0, PRIOR_OUTLINES, seconds)

    def _run_round(self, annotator: SimulatedAnnotator, number: int) -> RoundRecord:
        api = self._api
        seconds: dict[str, float] = {}
        with _stage(seconds, "choose and publish"):
            opened = api.open_round(RoundRequest(seed=1000 * self._seed + number)).round
            wait_until(api, "the round", lambda: api.round(number).state == "open")
        with _stage(seconds, "label"):
            annotator.label_all()
            wait_until(api, "the labels", lambda: api.round(number).state == "complete")
        self._train_and_score(seconds, number + 1)
        return self._record(number, opened.strategy, seconds)

    def _train_and_score(self, seconds: dict[str, float], version: int) -> None:
        with _stage(seconds, "fine-tune"):
            wait_until(self._api, "the version", lambda: len(list(self._api.versions())) == version)
            wait_for_jobs(self._api, "the fine-tune", "fine_tune")
        with _stage(seconds, "score"):
            wait_for_jobs(self._api, "the scores", "score_pool", "score_shard")

    def _record(self, number: int, strategy: str, seconds: dict[str, float]) -> RoundRecord:
        newest = next(self._api.versions())
        return RoundRecord(
            round=number,
            strategy=strategy,
            labels=newest.labels,
            version=newest.version,
            parent=newest.parent_version,
            promoted=newest.verdict == "promoted",
            verdict=newest.verdict_reason,
            iou=newest.iou,
            gain=newest.gain,
            champion=self._api.latest().version,
            gate=newest.gate.model_dump(mode="json") if newest.gate else None,
            seconds=seconds,
        )

    def _annotator(self) -> SimulatedAnnotator:
        """Create the account of the simulated annotator; return it with the truth and the patches of the pool."""
        pool = next(scene for scene in self._api.scenes() if scene.role == "pool")
        settings = self._catalog.settings
        administrator = LabelStudio(settings.label_studio_url, self._catalog.secrets.label_studio_token)
        studio = sign_in(
            administrator, settings.label_studio_url, settings.simulated_annotator_email, secrets.token_urlsafe(16)
        )
        project_id = connect(self._catalog, administrator)
        return SimulatedAnnotator(studio, project_id, self.truth, self._windows(pool.id), GLACIER_SCHEME)

    def _windows(self, scene_id: int) -> dict[int, Window]:
        windows: dict[int, Window] = {}
        for feature in self._api.patches(scene_id):
            place = feature["properties"]
            windows[feature["id"]] = Window(place["row_off"], place["col_off"], place["size_px"], place["size_px"])
        return windows


@contextmanager
def _stage(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Store how long the block took, in seconds."""
    began = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - began, 1)
