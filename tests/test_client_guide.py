"""The programs in ``docs/client.md`` are run as they stand there, against the real server."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from standardwebhooks import Webhook

from catalog.bundle_cache import FILES
from catalog.context import Catalog
from services.delivery import delivery_options, prediction_keys
from services.places import raster_store
from tests.catalog_fixtures import add_scene
from tests.dashboard_world import tick
from tests.served_app import serving
from tests.served_version import add_version, serve

GUIDE = Path(__file__).parents[1] / "docs" / "client.md"
MAPS, ANY_CALL, SERVED, WEBHOOK = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def environment(app: Flask, catalog: Catalog, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What the programs read, of a server with a served version and a scene that it has mapped."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for name in FILES:
        (bundle / name).write_text(name)
    add_version(catalog, 1, bundle)
    serve(catalog, 1)
    with catalog.database.write() as session:
        scene, _ = add_scene(session, "khumbu")
    for suffix, key in prediction_keys(scene, 1, delivery_options(catalog.settings)).items():
        raster_store(catalog).put(key, suffix.encode())
    tick(catalog)
    with serving(app) as address:
        yield {
            **os.environ,
            "API": address,
            "TOKEN": catalog.secrets.reader_token,
            "FOLDER": str(tmp_path / "out"),
            "PYTHONPATH": str(GUIDE.parents[1]),
        }


def test_the_first_program_fetches_the_model_and_maps(environment: dict[str, str]) -> None:
    # The second piece goes on inside of the first one's block, where the client is open.
    inside = "".join(f"    {line}\n" for line in ANY_CALL.splitlines())
    program = MAPS + inside
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    folder = Path(environment["FOLDER"])
    step, bundle, scene, worth = done.stdout.splitlines()
    assert step.startswith("Register a validation scene")
    assert bundle == f"version 1 is in {folder / 'v1'}"
    assert scene == "khumbu: outlines by version 1"
    assert worth == "cannot tell"
    assert (folder / "khumbu.geojson").read_text() == "geojson"
    assert (folder / "v1" / "model.onnx").read_text() == "model.onnx"


def test_the_second_program_hears_which_version_is_served(environment: dict[str, str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVED], env=environment, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        heard = program.stdout.readline()
        program.kill()
    assert heard == "version 1 is served\n"


def test_the_third_program_takes_webhooks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    monkeypatch.setenv("SECRET", secret)
    namespace: dict[str, Any] = {}
    exec(WEBHOOK, namespace)  # noqa: S102 - the documented program
    now = datetime.now(UTC)
    body = json.dumps({"type": "model.promoted", "timestamp": now.isoformat(), "data": {"version": 4}})
    headers = {"webhook-id": "1", "webhook-timestamp": str(int(now.timestamp()))}
    signed = headers | {"webhook-signature": Webhook(secret).sign("1", now, body)}
    assert namespace["handle"](body.encode(), signed) == 204
    assert capsys.readouterr().out == "version 4 is served\n"
    assert namespace["handle"](body.encode(), headers) == 401
