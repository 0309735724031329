"""Clicks that mend a proposal, asked for by a real Label Studio of a real server of ours."""

import dataclasses
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
from werkzeug.serving import make_server

from al_server.app import create_app
from catalog.context import Catalog
from catalog.secrets import Secrets
from catalog.settings import Settings
from imagery.classes import CLEAN_ICE, GLACIER_SCHEME
from labeling.regions import decode_result
from services.label_studio import connect
from tests.labeling.payloads import click
from tests.real_services import HOST, LabelStudioServer, free_port
from tests.workers.label_studio_desk import LabelStudioDesk
from tests.workers.rows import tiled

pytestmark = pytest.mark.slow

SIDE = 32


@pytest.fixture
def settings(settings: Settings, label_studio: LabelStudioServer, request: pytest.FixtureRequest) -> Settings:
    secrets = Secrets(label_studio_token=label_studio.token)
    settings.secrets_file.write_text(json.dumps(dataclasses.asdict(secrets)))
    changes = {
        "label_studio_url": label_studio.url,
        "label_studio_project": request.node.name[-50:],
        "api_url": f"http://{HOST}:{free_port()}",
        "interactive_clicks": True,
    }
    return Settings(**{**settings.model_dump(), **changes})


@contextmanager
def served(catalog: Catalog) -> Iterator[None]:
    """Serve the API at its address during the block."""
    port = int(catalog.settings.api_url.rpartition(":")[2])
    server = make_server(HOST, port, create_app(catalog), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_label_studio_passes_a_click_on_and_gets_the_mended_map(catalog: Catalog, tmp_path) -> None:
    desk = LabelStudioDesk(catalog, tiled(catalog, tmp_path / "a.tif")[0])
    sdk = desk.studio._sdk
    with served(catalog):
        (proposal,) = desk.open(0)
        project = proposal.project_id
        assert connect(catalog, desk.studio) == project  # a second time, which adds nothing
        (backend,) = sdk.ml.list(project=project)
        (hook,) = sdk.webhooks.list(project=str(project))
        assert hook.url.endswith("/api/v1/webhooks/label-studio")  # that of the backend itself is gone
        assert "KeyPointLabels" in sdk.projects.get(project).label_config

        # The page's own call; the SDK's gives the answer away.
        answer = httpx.post(
            f"{catalog.settings.label_studio_url}/api/ml/{backend.id}/interactive-annotating",
            json={"task": proposal.task_id, "context": {"result": [click("clean ice", 80.0, 62.5, SIDE)]}},
            headers={"Authorization": f"Token {catalog.secrets.label_studio_token}"},
            timeout=60,
        )
    regions = answer.json()["data"]["result"]
    ice = next(
        region
        for region in decode_result(regions, height=SIDE, width=SIDE, labels=GLACIER_SCHEME.labels)
        if region.label == CLEAN_ICE.name
    )
    assert ice.mask[20, 25]  # 80 % of 32 columns, 62.5 % of 32 rows
    assert np.count_nonzero(ice.mask) > 50


def test_a_backend_that_is_no_longer_wanted_is_disconnected(catalog: Catalog, tmp_path) -> None:
    desk = LabelStudioDesk(catalog, tiled(catalog, tmp_path / "a.tif")[0])
    with served(catalog):
        project = connect(catalog, desk.studio)
        assert len(desk.studio._sdk.ml.list(project=project)) == 1
        catalog.settings = Settings(**{**catalog.settings.model_dump(), "interactive_clicks": False})
        assert connect(catalog, desk.studio) == project
    assert desk.studio._sdk.ml.list(project=project) == []
    assert "KeyPointLabels" not in desk.studio._sdk.projects.get(project).label_config


def test_clicks_can_be_switched_off_while_an_annotation_has_one(
    catalog: Catalog, tmp_path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = LabelStudioDesk(catalog, tiled(catalog, tmp_path / "a.tif")[0])
    sdk = desk.studio._sdk
    with served(catalog):
        (proposal,) = desk.open(0)
        project = proposal.project_id
        drawn = sdk.annotations.create(id=proposal.task_id, result=[click("clean ice", 80.0, 62.5, SIDE)])
        catalog.settings = Settings(**{**catalog.settings.model_dump(), "interactive_clicks": False})
        with caplog.at_level(logging.INFO):
            assert connect(catalog, desk.studio) == project
    assert sdk.ml.list(project=project) == []
    kept = sdk.projects.get(project)
    assert "KeyPointLabels" in kept.label_config
    assert "Ctrl" not in kept.expert_instruction
    assert "the control of clicks stays on the labelling page" in caplog.text
    sdk.annotations.delete(drawn.id)
    assert connect(catalog, desk.studio) == project
    assert "KeyPointLabels" not in sdk.projects.get(project).label_config


def test_a_server_that_label_studio_cannot_reach_is_no_obstacle(
    catalog: Catalog, tmp_path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = LabelStudioDesk(catalog, tiled(catalog, tmp_path / "a.tif")[0])
    (proposal,) = desk.open(0)
    assert proposal.task_id is not None
    assert "clicks that mend a proposal are not set up" in caplog.text
