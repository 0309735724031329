"""The table of rooms in docs/architecture.md, proven twice.

Who imports whom among ourselves is judged by import-linter's contracts (pyproject.toml), and what a room drags in is
seen in a fresh interpreter that imports all of it: a library may come in through another library. What the server loads
later, when it is asked something, is seen in an interpreter that serves a request of each kind.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import numpy as np
import pytest

from al_server.app import create_app
from catalog import jobs
from catalog.context import Catalog
from catalog.records import JobKind
from labeling.interactive import USER
from labeling.webhook import SECRET_HEADER
from services import raster_keys
from services.image_urls import image_urls
from services.places import raster_store
from tests.catalog_fixtures import add_round, add_scene, as_role
from tests.imagery.forge import forge_scene
from tests.labeling.payloads import basic, body, click_request, saved

ROOT = Path(__file__).parents[1]

# What each room must never load, directly or through others.
NEVER = {
    "imagery": {"torch", "flask", "rq", "sqlalchemy", "mlflow", "label_studio_sdk"},
    "labeling": {"torch", "rasterio", "flask", "rq", "sqlalchemy", "mlflow", "label_studio_sdk"},
    "models": {"rasterio", "flask", "rq", "sqlalchemy", "mlflow", "label_studio_sdk"},
    "catalog": {"torch", "flask", "rasterio", "label_studio_sdk", "mlflow"},
    "services": {"torch", "flask", "rq", "mlflow", "label_studio_sdk"},
    "al_server": {"torch", "mlflow", "label_studio_sdk"},
    "glacier_al_client": {"torch", "flask", "rasterio", "sqlalchemy", "numpy", "catalog", "services", "al_server"},
}
HEAVY = {"torch", "mlflow", "label_studio_sdk", "pandas", "cv2"}  # the last two are what Label Studio's SDK weighs
# The one file that writes to MLflow, whose library brings Flask and much else along. Workers and experiments load it.
EXEMPT = {"catalog.tracking"}

# These run in the io worker and the clock, which have no use for a gigabyte of torch.
IO_MODULES = [
    "workers.main",
    "workers.clock",
    "workers.jobs",
    "workers.tile_scene",
    "workers.propose_round",
    "workers.publish_round",
    "workers.ingest_label",
    "workers.sync_label_studio",
    "workers.check_installation",
    "workers.read_scene",
]


def modules_of(room: str) -> list[str]:
    """Name all modules of a room; migrations are run by Alembic, not imported."""
    files = [path.relative_to(ROOT) for path in sorted((ROOT / room).rglob("*.py"))]
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files]
    return [name for name in names if name not in EXEMPT and not name.startswith("catalog.migrations")]


def loaded_by(modules: list[str]) -> set[str]:
    """Import modules in a fresh interpreter; return the top-level names of all that was loaded."""
    code = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_our_own_imports_keep_the_contracts() -> None:
    program = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert program is not None, "import-linter is not installed; run `make setup`"
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("room", NEVER)
def test_a_room_never_loads_what_is_not_its_business(room: str) -> None:
    modules = modules_of(room)
    assert len(modules) > 5
    assert loaded_by(modules) & NEVER[room] == set()


# Serves the requests that it reads; prints the status of each response and the libraries that are loaded then.
SERVER = """
import json, sys
from al_server.app import create_app
from catalog.context import Catalog
from catalog.settings import Settings

client = create_app(Catalog(Settings())).test_client()
statuses = {name: client.open(**request).status_code for name, request in json.load(sys.stdin).items()}
print(json.dumps([statuses, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


PAGES = ("/", "/rounds/1", "/patches/1", "/docs/", "/openapi.json")
WINDOW = {"row_off": 0, "col_off": 0, "height": 4, "width": 4}
CORRECTION = WINDOW | {"id": str(UUID(int=1)), "runs": [1, 16], "shown": None, "seconds": 1}


def windows_of_scene_1() -> Iterator[tuple[str, str]]:
    """Yield paths of the API with the same paths for scene 1 and a window or a place."""
    for path in (
        "tiles/{view}/window",
        "maps/{layer}/window",
        "maps/{layer}/window.webp",
        "bands/window",
        "superpixels",
    ):
        named = path.format(view="true-colour", layer="prior")
        yield f"/api/v1/scenes/{{scene_id}}/{path}", f"/api/v1/scenes/1/{named}?{urlencode(WINDOW)}"
    place = urlencode({"west": 86.79, "east": 86.79, "south": 28.09, "north": 28.09})
    yield "/api/v1/scenes/{scene_id}/window", f"/api/v1/scenes/1/window?{place}"


def requests_of_all_kinds(catalog: Catalog) -> dict[str, dict[str, Any]]:
    """Return one request for each operation of the API and for each page, with rows and files that they find."""
    settings, app = catalog.settings, create_app(catalog)
    settings.scene_root.mkdir()
    forge_scene(settings.scene_root / "scene.tif")
    raster_store(catalog).put(raster_keys.view(1, "heat"), b"a picture")
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, proposals = add_round(session, patches[:2], first_task=188)
        job = jobs.enqueue(session, JobKind.TILE_SCENE, scene_id=1)
    content = io.BytesIO()
    np.save(content, np.zeros((3, 32, 32), np.float32))
    raster_store(catalog).put(raster_keys.bands(patches[0].id), content.getvalue())
    values = {"job_id": job.id, "name": "heat", "view": "true-colour", "layer": "prior"}
    # A scene without outlines: these are read by pyogrio, which loads pandas where it is installed (imagery.vectors).
    bodies: dict[str, dict[str, Any]] = {
        "POST /api/v1/scenes": {"json": {"name": "khumbu", "role": "pool", "path": "scene.tif"}},
        "PUT /api/v1/scenes/{scene_id}": {"json": {"role": "pool", "path": "scene.tif"}},
        **{f"GET {path}": {"path": with_query} for path, with_query in windows_of_scene_1()},
        "POST /api/v1/scenes/{scene_id}/corrections": {"json": CORRECTION},
        "POST /api/v1/predict": {"json": {"scene_id": 1, "window": WINDOW}},
        "GET /api/v1/predict/{uid}": {"path": f"/api/v1/predict/{'0' * 32}"},
        "GET /api/v1/predict/{uid}/{suffix}": {"path": f"/api/v1/predict/{'0' * 32}/tif"},
        "POST /api/v1/changes": {"json": {"earlier": 1, "later": 2}},
        "GET /api/v1/changes/{uid}": {"path": f"/api/v1/changes/{'0' * 32}"},
        "GET /api/v1/changes/{uid}/{suffix}": {"path": f"/api/v1/changes/{'0' * 32}/csv"},
        "DELETE /api/v1/data-sets/{uid}": {"path": f"/api/v1/data-sets/{'0' * 32}"},
        "GET /api/v1/data-sets/{uid}/file": {"path": f"/api/v1/data-sets/{'0' * 32}/file"},
        "POST /api/v1/glims-submissions": {"json": {"scene": 1}},
        "DELETE /api/v1/glims-submissions/{uid}": {"path": f"/api/v1/glims-submissions/{'0' * 32}"},
        "GET /api/v1/glims-submissions/{uid}/file": {"path": f"/api/v1/glims-submissions/{'0' * 32}/file"},
        "POST /api/v1/experiments": {"json": {"name": "bands", "example": "everest"}},
        "POST /api/v1/simulations": {"json": {"example": "everest"}},
        "DELETE /api/v1/experiments/{uid}": {"path": f"/api/v1/experiments/{'0' * 32}"},
        **{
            f"GET /api/v1/experiments/{{uid}}/{name}": {"path": f"/api/v1/experiments/{'0' * 32}/{name}"}
            for name in ("file", "table", "figure")
        },
        "POST /api/v1/rounds": {"json": {"strategy": "random", "size": 2}},
        "POST /api/v1/models/{version}/promote": {"json": {"reason": "looks better"}},
        "POST /api/v1/scenes/uploads": {"json": {"name": "langtang"}},
        "POST /api/v1/withdrawals": {"json": {"annotator": "a@b.example", "reason": "shifted by a pixel"}},
        "POST /api/v1/models/rollback": {"json": {"reason": "looks worse"}},
        "POST /api/v1/canary/{comparison_id}/acknowledge": {"json": {"note": "new snow"}},
        "POST /api/v1/subscriptions": {"json": {"url": "https://hooks.example.org/"}},
        "POST /api/v1/subscriptions/{subscription_id}/replay": {"json": {"since": "2026-11-26T12:00:00Z"}},
        "POST /api/v1/webhooks/label-studio": {"json": json.loads(body(saved()))},
        "GET /api/v1/patches/{patch_id}/composites/{name}.png": {"path": image_urls(catalog).url(1, "heat")},
        "POST /api/v1/users": {"json": {"name": "anna", "role": "reader", "password": "correct horse battery"}},
        "PATCH /api/v1/settings": {"json": {"settings": {"round_size": 7}}},
        "PATCH /api/v1/users/{name}": {"path": "/api/v1/users/admin"},
        "POST /api/v1/tokens": {"json": {"name": "web-tool", "role": "reader"}},
        "POST /api/v1/tokens/{name}/rotate": {"path": "/api/v1/tokens/operator/rotate"},
        "DELETE /api/v1/tokens/{name}": {"path": "/api/v1/tokens/annotator"},
        "POST /api/v1/interactive/predict": {"json": click_request(proposals[0].uid, 3.0, 4.0, "clean ice", 32)},
    }
    password = {"headers": basic(USER, catalog.secrets.interactive_password)}
    for call in (
        "GET /api/v1/interactive/health",
        "POST /api/v1/interactive/setup",
        "POST /api/v1/interactive/predict",
    ):
        bodies[call] = bodies.get(call, {}) | password
    headers = {**as_role(catalog, "administrator"), SECRET_HEADER: catalog.secrets.webhook_secret}
    bodies["PUT /api/v1/scenes/uploads/{folder}/{name}"] = {
        "path": "/api/v1/scenes/uploads/langtang/b4.tif?size=4",
        "data": "II*_",
        "json": None,
        "headers": {**headers, "Content-Type": "application/octet-stream"},
    }
    described = [(method.upper(), path) for path, item in app.api_doc["paths"].items() for method in item]
    return {
        f"{method} {path}": {
            "method": method,
            "path": re.sub(r"{(\w+)}", lambda hit: values.get(hit[1], "1"), path),
            "headers": headers,
            **({"json": {}} if method in {"POST", "PUT", "PATCH"} else {}),
            **bodies.get(f"{method} {path}", {}),
        }
        for method, path in [*described, *(("GET", page) for page in PAGES)]
    }


def test_a_server_that_has_answered_all_kinds_of_requests_has_loaded_nothing_heavy(catalog: Catalog) -> None:
    requests = requests_of_all_kinds(catalog)
    done = subprocess.run(
        [sys.executable, "-c", SERVER],
        cwd=ROOT,
        env={**os.environ, **catalog.settings.as_environment(), "GLACIER_AL_INTERACTIVE_CLICKS": "true"},
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    statuses, loaded = json.loads(done.stdout.splitlines()[-1])
    assert set(loaded) & HEAVY == set()
    # All were answered by their views, as far as that goes without MLflow.
    without_mlflow = {name for name, status in statuses.items() if status == 503}
    assert without_mlflow == {name for name in requests if name.endswith("/readyz")}
    refused = {name: status for name, status in statuses.items() if status >= 400 and name not in without_mlflow}
    before_the_first_version = re.compile(
        r"GET .*/(prediction\.|qgis/deepness|models/latest|models/{version})|POST .*/predict$"
    )
    assert {name: status for name, status in refused.items() if not before_the_first_version.match(name)} == {
        "POST /api/v1/models/{version}/promote": 404,
        "POST /api/v1/models/{version}/reproductions": 404,
        "POST /api/v1/models/rollback": 409,  # none is served
        "GET /api/v1/models/requests/{request_id}": 404,
        "GET /api/v1/predict/{uid}": 404,
        "GET /api/v1/predict/{uid}/{suffix}": 404,
        "POST /api/v1/changes": 409,  # no version is served
        "GET /api/v1/changes/{uid}": 404,
        "GET /api/v1/changes/{uid}/{suffix}": 404,
        "PUT /api/v1/quality/references/{label_id}": 404,  # there is no label
        "DELETE /api/v1/quality/references/{label_id}": 404,
        "DELETE /api/v1/scenes/{scene_id}": 409,  # annotators are asked about it
        "PUT /api/v1/scenes/{scene_id}": 409,
        "POST /api/v1/jobs/{job_id}/retry": 409,  # it has not failed
        "POST /api/v1/annotators": 422,  # its view would ask Label Studio
        "POST /api/v1/fine-tunes": 409,  # there is no label
        "POST /api/v1/data-sets": 409,  # nor a label to export
        "DELETE /api/v1/data-sets/{uid}": 404,
        "GET /api/v1/data-sets/{uid}/file": 404,
        "POST /api/v1/glims-submissions": 409,  # nor a version that is served
        "DELETE /api/v1/glims-submissions/{uid}": 404,
        "GET /api/v1/glims-submissions/{uid}/file": 404,
        "POST /api/v1/glims-checks": 422,  # no file
        "DELETE /api/v1/experiments/{uid}": 404,
        "GET /api/v1/experiments/{uid}/file": 404,
        "GET /api/v1/experiments/{uid}/table": 404,
        "GET /api/v1/experiments/{uid}/figure": 404,
        "POST /api/v1/backups": 409,  # no folder is set
        "POST /api/v1/subscriptions": 409,  # no host may be told
        "DELETE /api/v1/subscriptions/{subscription_id}": 404,
        "POST /api/v1/canary/{comparison_id}/acknowledge": 404,
        "POST /api/v1/withdrawals": 404,  # this annotator has no label
        "POST /api/v1/subscriptions/{subscription_id}/replay": 404,
        "POST /api/v1/subscriptions/{subscription_id}/rotate": 404,
        "POST /api/v1/label-events/{event_id}/replay": 409,  # nor has this
        "POST /api/v1/tokens/{name}/rotate": 409,  # it stands in the file of secrets
        "GET /api/v1/scenes/{scene_id}/tiles/{view}/{z}/{x}/{y}.webp": 422,  # the scene's file is missing
        "GET /api/v1/scenes/{scene_id}/maps/{layer}/{z}/{x}/{y}.webp": 404,  # none was made
        "GET /api/v1/scenes/{scene_id}/tiles/{view}/window": 422,
        "GET /api/v1/scenes/{scene_id}/bands/window": 422,
        "GET /api/v1/scenes/{scene_id}/superpixels": 422,
        "GET /api/v1/scenes/{scene_id}/maps/{layer}/window": 404,
        "GET /api/v1/scenes/{scene_id}/maps/{layer}/window.webp": 404,
        "GET /api/v1/patches/{patch_id}/labels/{label_id}.webp": 404,
        "GET /api/v1/scenes/{scene_id}/pixels": 422,  # no window was named
        "GET /api/v1/scenes/requests/{request_id}": 404,
        "POST /api/v1/scenes/{scene_id}/labels": 422,  # no file
        "GET /api/v1/scenes/{scene_id}/qgis/tiles/{view}/{z}/{x}/{y}.webp": 422,  # without a signature
        "GET /api/v1/scenes/{scene_id}/qgis/maps/{layer}/{z}/{x}/{y}.webp": 422,
    }


def test_io_workers_never_load_torch_or_mlflow() -> None:
    assert loaded_by(IO_MODULES) & {"torch", "mlflow", "flask", "al_server", "models"} == set()


@pytest.mark.parametrize("room", [*NEVER, "workers", "experiments", "cli"])
def test_importing_a_room_loads_none_of_its_modules(room: str) -> None:
    """All `__init__.py` are empty, so that importing one file never drags in another."""
    assert (ROOT / room / "__init__.py").read_text() == ""


# What is about glaciers by its nature, and what gives the glacier scheme to installations that configured no other.
ABOUT_GLACIERS = {
    "cli/demo_rounds.py",
    "cli/levers.py",
    "cli/report.py",
    "cli/report_pictures.py",
    "cli/round_record.py",
    "cli/synthetic_commands.py",
    "imagery/everest.py",
    "imagery/glacier_vocabulary.py",
    "imagery/synthetic.py",
    "imagery/synthetic_ground.py",
    "imagery/synthetic_site.py",
    "imagery/synthetic_surface.py",
    "services/class_scheme.py",
    "services/example_pictures.py",
    "services/version_figures.py",  # versions of releases that knew no other scheme
}


def test_only_what_is_about_glaciers_names_classes_of_glaciers() -> None:
    """Everything else gets the classes of the installation as an argument."""
    fixed = {"BACKGROUND", "UNKNOWN", "ClassScheme", "LabelClass"}
    found = set()
    for room in (*NEVER, "cli", "workers"):
        for path in (ROOT / room).rglob("*.py"):
            for line in path.read_text().splitlines():
                module, _, names = line.partition(" import ")
                if module.strip() == "from imagery.classes" and set(names.split(", ")) - fixed:
                    found.add(path.relative_to(ROOT).as_posix())
    assert found == ABOUT_GLACIERS
