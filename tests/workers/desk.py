"""An annotator's desk: proposals that wait, and label events in the very form in which the API stores them."""

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from catalog.context import Catalog
from catalog.records import EventState, JobKind, Label, LabelEvent, Patch, Proposal, Round, Scene
from imagery.classes import GLACIER_SCHEME
from imagery.masks import mask_from_geotiff
from labeling.events import parse_event
from labeling.regions import encode_brush
from services import label_events
from services.places import raster_store
from tests.catalog_fixtures import NOON, PROJECT_ID, add_round
from tests.workers.rows import context_of, finish, patches, tiled
from workers.ingest_label import ingest_label

SIDE = 32
TASK = 41
ANNOTATION = 900


@dataclass
class Desk:
    """An annotator's desk: two proposals of one round are open, and events arrive."""

    catalog: Catalog
    scene: Scene
    first: Proposal
    second: Proposal

    def receive(self, payload: dict[str, Any]) -> list[int]:
        """Store an event as the webhook does; return the new ids."""
        body = json.dumps(payload).encode()
        with self.catalog.database.write() as session:
            return [event.id for event in label_events.record(session, parse_event(body, 2**26), body, "webhook")]

    def ingest(self, event_id: int) -> None:
        context = context_of(self.catalog, JobKind.INGEST_LABEL, f"test-{event_id}")
        try:
            ingest_label(context, event_id)
        finally:
            finish(context)

    def deliver(self, payload: dict[str, Any]) -> LabelEvent:
        """Receive one event and ingest it; return what became of it."""
        (event_id,) = self.receive(payload)
        self.ingest(event_id)
        return self.event(event_id)

    def received(self) -> list[int]:
        """The ids of the events that wait to be ingested."""
        with self.catalog.read() as session:
            waiting = select(LabelEvent.id).where(LabelEvent.state == EventState.RECEIVED)
            return list(session.scalars(waiting.order_by(LabelEvent.id)))

    def event(self, event_id: int) -> LabelEvent:
        with self.catalog.read() as session:
            return session.get_one(LabelEvent, event_id)

    def standing(self) -> list[Label]:
        with self.catalog.read() as session:
            return list(session.scalars(select(Label).where(Label.superseded_at.is_(None)).order_by(Label.id)))

    def mask(self) -> np.ndarray:
        """The mask of the one standing label."""
        (label,) = self.standing()
        return mask_from_geotiff(raster_store(self.catalog).get(label.mask_key), GLACIER_SCHEME)

    def states(self) -> tuple[str, str, str]:
        """The states of the first proposal, its patch and the round."""
        with self.catalog.read() as session:
            proposal = session.get_one(Proposal, self.first.id)
            patch = session.get_one(Patch, proposal.patch_id)
            return proposal.state.value, patch.state.value, session.get_one(Round, proposal.round_id).state.value


def sit_down(catalog: Catalog, path: Path, **forging: Any) -> Desk:
    """Tile a scene and open a round of two of its patches: rows and columns 32 to 63, and columns 64 to 95."""
    scene, _ = tiled(catalog, path, **forging)
    with catalog.database.write() as session:
        chosen = [session.get_one(Patch, patch.id) for patch in patches(catalog, scene.id)[6:8]]
        _, (first, second) = add_round(session, chosen, first_task=TASK)
    return Desk(catalog, scene, first, second)


def saved(proposal: Proposal, result: list, minutes: float = 0, action: str = "ANNOTATION_CREATED", **changes) -> dict:
    """A webhook of an annotation created at noon; without an annotator's number: nobody is asked for an address."""
    annotation = {
        "id": ANNOTATION,
        "result": result,
        "was_cancelled": False,
        "created_at": moment(0),
        "updated_at": moment(minutes),
        "lead_time": 12.5,
        "completed_by": None,
        **changes,
    }
    data = {"proposal": proposal.uid, "patch_id": proposal.patch_id}
    task = {"id": proposal.task_id, "project": PROJECT_ID, "data": data}
    return {"action": action, "annotation": annotation, "project": {"id": PROJECT_ID}, "task": task}


def moment(minutes: float) -> str:
    """Some minutes after noon, as Label Studio writes it."""
    return (NOON + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def updated(proposal: Proposal, result: list, minutes: float, **changes) -> dict:
    return saved(proposal, result, minutes, "ANNOTATION_UPDATED", **changes)


def deleted(annotation_id: int = ANNOTATION) -> dict:
    return {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": annotation_id}], "project": {"id": PROJECT_ID}}


def task_deleted(*task_ids: int) -> dict:
    return {"action": "TASKS_DELETED", "tasks": [{"id": item} for item in task_ids], "project": {"id": PROJECT_ID}}


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top:bottom, left:right] = True
    return mask


def brush(mask: np.ndarray, label: str = "clean ice", name: str = "b1") -> dict:
    return encode_brush(mask, label, name)
