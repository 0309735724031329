"""Corrections on the map beside a real Label Studio, which knows nothing of them."""

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import select

from catalog.context import Catalog
from catalog.records import JobKind, Label, Scene
from catalog.settings import Settings
from services import corrections
from services.corrections import Correction
from tests.real_services import LabelStudioServer
from tests.workers.label_studio_desk import LabelStudioDesk, settings_beside
from tests.workers.rows import context_of, finish, tiled
from workers.ingest_label import ingest_label

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(settings: Settings, label_studio: LabelStudioServer, request: pytest.FixtureRequest) -> Settings:
    return settings_beside(label_studio, settings, request.node.name)


def standing(catalog: Catalog) -> list[str]:
    with catalog.read() as session:
        return list(session.scalars(select(Label.annotator).where(Label.superseded_at.is_(None)).order_by(Label.id)))


def test_reconciliation_leaves_corrections_alone(catalog: Catalog, tmp_path: Path) -> None:
    desk = LabelStudioDesk(catalog, tiled(catalog, tmp_path / "a.tif")[0])
    (proposal,) = desk.open(6)  # the patch of rows and columns 32 to 63
    desk.studio.annotate(proposal.task_id, [], lead_time_s=1.0)
    desk.reconcile()
    said = Correction(
        id=uuid4(), row_off=32, col_off=32, height=32, width=32, shown=None, seconds=9.0, annotator="anna"
    )
    ones = np.ones((32, 32), np.uint8)
    with catalog.read() as session:
        scene = session.get_one(Scene, desk.scene.id)
    (event,), _ = corrections.record(catalog, scene, said, ones, ones)
    number = event.id
    ingestion = context_of(catalog, JobKind.INGEST_LABEL, "a correction", event_id=number)
    ingest_label(ingestion, number)
    finish(ingestion)
    assert len(standing(catalog)) == 2
    desk.reconcile()
    assert len(standing(catalog)) == 2
    desk.studio._sdk.tasks.delete(str(proposal.task_id))  # and with it the annotation
    desk.reconcile()
    assert standing(catalog) == ["anna"]
    desk.studio.delete_project(proposal.project_id)
    desk.reconcile()
    assert standing(catalog) == ["anna"]
