"""The content of the demonstration's report, read from the catalog."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, Final

import click
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from catalog import scorings
from catalog.context import Catalog
from catalog.records import Label, Patch, Proposal, Scene, SceneRole, SceneState, Scoring
from catalog.settings import Settings
from cli.levers import Comparison, Lever, effort_levers, saved_px
from cli.round_record import RoundRecord
from models.inference import pick_device
from services import raster_keys
from services.arms import Arms, compare, read_labels
from services.effort import EffortGroup, effort
from services.places import raster_store
from services.scenes import source_of
from workers.publication import UNTRAINED

SCENE_TITLE = "Mount Everest, Landsat 7 ETM+, 30 October 2000"


_SHOWN: Final = ("true_colour", "false_colour", "uncertainty")


@dataclass(frozen=True)
class LabelledPatch:
    """A patch of the pool that was proposed and labelled.

    Attributes:
        round: Number of the round that proposed it.
        patch_id: Its id.
        row_off: First row in the pool scene.
        col_off: First column in the pool scene.
        size_px: Its side, pixels.
        reason: Why it was proposed.
        score: Score by the round's measure, in nats; None in a round without scores.
        edited_px: Pixels of the label that differ from the pre-annotation or, without one, from background.
        view_keys: Keys of the views that the report shows, by name; None for the uncertainty before the first model.
        preannotation_key: Key of the pre-annotation in the raster store; None if there was none.
        label_key: Key of the label's mask in the raster store.
    """

    round: int
    patch_id: int
    row_off: int
    col_off: int
    size_px: int
    reason: str
    score: float | None
    edited_px: int
    view_keys: dict[str, str | None]
    preannotation_key: str | None
    label_key: str

    @property
    def edited_share(self) -> float:
        """Share of the patch that the annotator changed, 0 to 1."""
        return self.edited_px / self.size_px**2

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the patch in ``report.json``: its position, reason, score and edited pixels."""
        figures = {name: getattr(self, name) for name in ("patch_id", "row_off", "col_off", "reason", "score")}
        return figures | {"edited_px": self.edited_px, "edited_share": round(self.edited_share, 4)}


@dataclass(frozen=True)
class Content:
    """All content of the report except pixels.

    Attributes:
        records: What version 1 brought, which old outlines taught, and then each round, in order; at least one round.
        seconds: Seconds from the start of the system to the last score.
        scenes: The one scene of each role.
        patches: Every labelled patch, in the order of the rounds and, in a round, of the annotators' queue.
        pool_patches: Number of patches in the pool.
        scoring: The newest scoring of the pool, of the version that scores.
        effort: What the labels cost, and how good the expected edits were.
        machine: Cores, versions and device.
        arms: What chosen patches and controls found.
        levers: What each part of the loop gave.
        comparisons: The same trainings with one thing changed.
        outlook: What the API tells of a further round: ``next_round``, ``agreements`` and ``worth`` of
            ``GET /api/v1/arms``; empty without a server.
    """

    records: Sequence[RoundRecord]
    seconds: float
    scenes: dict[SceneRole, Scene]
    patches: Sequence[LabelledPatch]
    pool_patches: int
    scoring: Scoring
    effort: Sequence[EffortGroup]
    machine: dict[str, Any]
    arms: Arms
    levers: Sequence[Lever]
    comparisons: Sequence[Comparison]
    outlook: Mapping[str, Any]

    @property
    def rounds(self) -> Sequence[RoundRecord]:
        """The records of the rounds, without version 1."""
        return self.records[1:]

    @property
    def served(self) -> Sequence[RoundRecord]:
        """For each record, that of the version that was served after it."""
        by_version = {record.version: record for record in self.records}
        return [by_version[record.champion] for record in self.records]

    def of_round(self, number: int) -> list[LabelledPatch]:
        """Return the labelled patches of a round."""
        return [patch for patch in self.patches if patch.round == number]

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``report.json``; undefined figures are null."""
        return {
            "scene": SCENE_TITLE,
            "regions": {role.value: _region(scene) for role, scene in self.scenes.items()},
            "annotator": "simulated",
            "seconds": round(self.seconds, 1),
            "rounds": [self._round(record) for record in self.records],
            "effort": [asdict(group) for group in self.effort],
            "machine": self.machine,
            "arms": asdict(self.arms),
            "levers": [asdict(lever) | {"outcome": lever.outcome} for lever in self.levers],
            "comparisons": [{"name": item.name, "test_mean_iou": item.mean_iou} for item in self.comparisons],
            "outlook": dict(self.outlook),
        }

    def _round(self, record: RoundRecord) -> dict[str, Any]:
        patches = self.of_round(record.round)
        row = asdict(record)
        row["gate"] = {"promoted": row.pop("promoted"), "reason": row.pop("verdict"), "evidence": record.gate}
        row["labelled_patches"] = [patch.to_json() for patch in patches]
        row["edited_share_mean"] = None if not patches else round(mean_edited_share(patches), 4)
        return row


def gather(
    catalog: Catalog,
    records: Sequence[RoundRecord],
    seconds: float,
    levers: Sequence[Lever] = (),
    comparisons: Sequence[Comparison] = (),
    outlook: Mapping[str, Any] = MappingProxyType({}),
) -> Content:
    """Read the content of the report from the catalog.

    Args:
        catalog: catalog of the system that ran the demonstration.
        records: what version 1 brought, and then each round.
        seconds: duration of the demonstration.
        levers: what old outlines, labels, choosing and the gate gave.
        comparisons: the same trainings with one thing changed.
        outlook: what the API tells of a further round.

    Raises:
        ClickException: the catalog lacks rows that the report needs; the message says which.
    """
    if len(records) < 2:
        raise click.ClickException("found no round to report on; run the demonstration for at least one")
    with catalog.read() as session:
        ready = session.scalars(select(Scene).where(Scene.state == SceneState.READY))
        scenes = {scene.role: scene for scene in ready}
        scoring = scorings.newest(session)
        of_patch = joinedload(Label.proposal), joinedload(Label.patch)
        labels = session.scalars(select(Label).where(Label.superseded_at.is_(None)).options(*of_patch)).all()
        compared = compare(read_labels(session))
        costs = effort(session)
        of_rounds = [(label.proposal.round_id, label) for label in labels]
        asked_for = [(number, label) for number, label in of_rounds if number is not None]  # corrections have no round
        patches = sorted(asked_for, key=lambda item: (item[0], item[1].proposal.rank))
    missing = [role.value for role in SceneRole if role not in scenes]
    if missing or scoring is None:
        lacking = f"no ready scene with the role {' or '.join(missing)}" if missing else "no scoring of the pool"
        raise click.ClickException(f"found {lacking}; the report tells of a loop that has gone round at least once")
    labelled = [_labelled(label, number) for number, label in patches]
    offered = [(patch.label_key, patch.edited_px) for patch in labelled if patch.preannotation_key is not None]
    return Content(
        records=records,
        seconds=seconds,
        scenes={role: scenes[role] for role in SceneRole},
        patches=labelled,
        pool_patches=scenes[SceneRole.POOL].patch_count,
        scoring=scoring,
        effort=costs,
        machine=_machine(catalog.settings),
        arms=compared,
        levers=[*levers, *effort_levers(compared, saved_px(raster_store(catalog), offered))],
        comparisons=comparisons,
        outlook=outlook,
    )


def mean_edited_share(patches: Sequence[LabelledPatch]) -> float:
    """Return the mean share of a patch that was changed, 0 to 1, over at least one patch."""
    return sum(patch.edited_share for patch in patches) / len(patches)


def _machine(settings: Settings) -> dict[str, Any]:
    """Return what durations depend on: cores, versions, and the device that the workers use."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "device": pick_device(settings.device).type,
    }


def _labelled(label: Label, round_id: int) -> LabelledPatch:
    patch: Patch = label.patch
    proposal = label.proposal
    drawn_by = proposal.preannotated_by
    return LabelledPatch(
        round=round_id,
        patch_id=patch.id,
        row_off=patch.row_off,
        col_off=patch.col_off,
        size_px=patch.size_px,
        reason=proposal.reason.value,
        score=proposal.score,
        edited_px=label.edited_px,
        view_keys=_view_keys(proposal),
        preannotation_key=None if drawn_by is None else raster_keys.preannotation(proposal.uid, drawn_by),
        label_key=label.mask_key,
    )


def _view_keys(proposal: Proposal) -> dict[str, str | None]:
    """Return the keys of the views that the report shows by name; None for the uncertainty before the first model."""
    views = proposal.views or {}
    keys: dict[str, str | None] = {
        field.replace("_", " "): raster_keys.view(proposal.patch_id, views[field]) for field in _SHOWN if field in views
    }
    if proposal.shown_version == UNTRAINED:
        keys["uncertainty"] = None
    return keys


def _region(scene: Scene) -> dict[str, Any]:
    grid = source_of(scene).grid
    return {
        "name": scene.name,
        "height_px": grid.height,
        "width_px": grid.width,
        "crs": grid.crs,
        "patches": scene.patch_count,
    }
