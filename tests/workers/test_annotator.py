"""Who drew a label, asked of a real Label Studio."""

import dataclasses
import json
from pathlib import Path

import pytest

from catalog.context import Catalog
from catalog.secrets import Secrets
from catalog.settings import Settings
from labeling.client import LabelStudio
from tests.real_services import LabelStudioServer
from tests.workers.desk import sit_down, updated

pytestmark = pytest.mark.slow

PROGRAM = "simulated@glacier.local"


@pytest.fixture
def settings(settings: Settings, label_studio: LabelStudioServer) -> Settings:
    changes = {"label_studio_url": label_studio.url, "simulated_annotator_email": PROGRAM}
    secrets = Secrets(label_studio_token=label_studio.token)
    settings.secrets_file.write_text(json.dumps(dataclasses.asdict(secrets)))
    return Settings(**{**settings.model_dump(), **changes})


def test_people_are_told_apart_from_programs(catalog: Catalog, label_studio: LabelStudioServer, tmp_path: Path):
    administrator = LabelStudio(label_studio.url, label_studio.token)
    desk = sit_down(catalog, tmp_path / "a.tif")
    drawn_by = [
        (administrator.invite_user("Glaciologist@glacier.local", "ice cold password"), "glaciologist@glacier.local"),
        (administrator.invite_user(PROGRAM, "ice cold password"), PROGRAM),
        (10**6, "user 1000000"),  # the account is gone
    ]
    for minutes, (user_id, expected) in enumerate(drawn_by):
        desk.deliver(updated(desk.first, [], minutes, completed_by=user_id))
        (label,) = desk.standing()
        assert (label.annotator, label.simulated) == (expected, expected == PROGRAM)
