"""Simulations and experiments are asked for, listed, taken away and removed over HTTP, by operators."""

import io
import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from flask.testing import FlaskClient

from catalog import jobs
from catalog.context import Catalog
from catalog.records import SceneRole
from services import made_files, raster_keys
from services.asked_experiments import Contents, KnownExperiment, ResultTable
from services.experiment_options import QUESTIONS, ExperimentOptions, SimulationOptions
from services.places import raster_store
from tests.al_server.test_dashboard import Page
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role
from tests.workers.rows import tiled

EXPERIMENTS = "/api/v1/experiments"
SIMULATIONS = "/api/v1/simulations"
NONE_SUCH = f"{EXPERIMENTS}/{'0' * 32}"
PNG = b"\x89PNG\r\n\x1a\n of a figure"


@pytest.fixture
def operator(catalog: Catalog) -> dict[str, str]:
    return as_role(catalog, "operator")


def listed(client: FlaskClient, operator: dict[str, str]) -> list[dict[str, Any]]:
    response: Any = client.get(EXPERIMENTS, headers=operator)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json
    return found


def make(catalog: Catalog, name: str) -> str:
    """Store results of the newest experiment as its job does, and end the job; return the id."""
    archive = io.BytesIO()
    with ZipFile(archive, "w") as files:
        for suffix, content in (("csv", b"table,row\n"), ("png", PNG), ("md", b"## it\n")):
            files.writestr(f"{name}.{suffix}", content)
    with catalog.read() as session:
        known = made_files.listed(session, KnownExperiment)[0]
    store = raster_store(catalog)
    store.put(raster_keys.data_set(known.row.uid), archive.getvalue())
    table = ResultTable(title="Mean <IoU>", columns=["strategy", "12 labels"], rows=[["random", "0.512 ± 0.010"]])
    contents = Contents(
        question="Which one?", tables=[table], notes=["One area."], mlflow="http://mlflow", size_bytes=1
    )
    made_files.note_contents(catalog, store, known.row.uid, contents, labels=())
    with catalog.write() as session:
        job = jobs.claim(session, known.job.id)
        assert job is not None
        jobs.finish(session, job.id, job.attempt)
    return known.row.uid


def test_a_simulation_is_asked_for_and_its_results_are_taken_away(
    catalog: Catalog, client: FlaskClient, operator: dict[str, str]
) -> None:
    accepted: Any = client.post(SIMULATIONS, json={"example": "synthetic", "seeds": 2}, headers=operator)
    assert (accepted.status_code, accepted.json["kind"]) == (202, "run_experiment")
    assert accepted.headers["Location"] == f"/api/v1/jobs/{accepted.json['id']}"
    (waiting,) = listed(client, operator)
    assert accepted.json["subject"] == {"uid": waiting["id"]}
    assert (waiting["name"], waiting["asked_by"], waiting["experiment"]) == ("simulation", "operator", None)
    assert waiting["simulation"] == SimulationOptions(example="synthetic", seeds=2).model_dump()
    assert (waiting["contents"], waiting["file"], waiting["table"], waiting["figure"]) == (None, None, None, None)
    for part in ("file", "table", "figure"):
        refused = client.get(f"{EXPERIMENTS}/{waiting['id']}/{part}", headers=operator)
        assert_problem(refused, 409, "the experiment is queued; ask again later")

    uid = make(catalog, "simulation")
    (found,) = listed(client, operator)
    assert found["contents"]["tables"][0]["rows"] == [["random", "0.512 ± 0.010"]]
    table, figure = (client.get(found[part], headers=operator) for part in ("table", "figure"))
    assert (table.data, table.mimetype, figure.data, figure.mimetype) == (b"table,row\n", "text/csv", PNG, "image/png")
    name = f"simulation-{found['asked_at'][:10]}"
    assert table.headers["Content-Disposition"] == f'inline; filename="{name}.csv"'
    with client.get(found["file"], headers=operator) as sent, ZipFile(io.BytesIO(sent.data)) as files:
        assert sorted(files.namelist()) == ["simulation.csv", "simulation.md", "simulation.png"]

    removed: Any = client.delete(f"{EXPERIMENTS}/{uid}", headers=operator)
    assert (removed.status_code, removed.json["id"], removed.json["figure"]) == (200, uid, None)
    assert listed(client, operator) == []
    assert not raster_store(catalog).exists(raster_keys.data_set(uid))


def test_an_experiment_is_asked_for_on_registered_scenes(
    catalog: Catalog, client: FlaskClient, operator: dict[str, str], tmp_path: Path
) -> None:
    scene, _ = tiled(catalog, tmp_path / "khumbu.tif")
    asked = {"name": "heads", "scenes": [scene.name], "depth": 2, "split": "random"}
    assert client.post(EXPERIMENTS, json=asked, headers=operator).status_code == 202
    (found,) = listed(client, operator)
    assert (found["name"], found["question"], found["simulation"]) == ("heads", QUESTIONS["heads"], None)
    assert found["experiment"] == ExperimentOptions.model_validate(asked).model_dump()


@pytest.mark.parametrize(
    ("path", "options", "told"),
    [
        (SIMULATIONS, {"seeds": 0}, "seeds"),
        (SIMULATIONS, {"seeds": 101}, "seeds"),
        (SIMULATIONS, {"rounds": 2, "example": "everest"}, "rounds: found 2; expected more than 2"),
        (SIMULATIONS, {"steps": 0}, "steps"),
        (SIMULATIONS, {"patch_size": 16}, "patch_size"),
        (SIMULATIONS, {"strategies": ["prior_disagreement"]}, "strategies.0"),
        (SIMULATIONS, {"annotator": "pencil"}, "annotator"),
        (SIMULATIONS, {"scenes": ["a"], "example": "everest"}, "found both scenes and an example"),
        (SIMULATIONS, {"folder": "/tmp/out"}, "folder"),
        (EXPERIMENTS, {}, "name"),
        (EXPERIMENTS, {"name": "../bands"}, "name"),
        (EXPERIMENTS, {"name": "bands", "example": "/etc"}, "example"),
        (EXPERIMENTS, {"name": "bands", "depth": 8}, "depth"),
        (EXPERIMENTS, {"name": "bands", "architecture": "resnet"}, "architecture"),
        (EXPERIMENTS, {"name": "bands", "split": "regions"}, "split"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(
    client: FlaskClient, operator: dict[str, str], path: str, options: dict[str, Any], told: str
) -> None:
    assert_problem(client.post(path, json=options, headers=operator), 422, told)
    assert listed(client, operator) == []


def test_ground_that_does_not_fit_is_refused(
    catalog: Catalog, client: FlaskClient, operator: dict[str, str], tmp_path: Path
) -> None:
    def refused(path: str, **options: Any) -> Any:
        return client.post(path, json=options, headers=operator)

    assert_problem(refused(SIMULATIONS), 409, "found no registered scene with outlines")
    scene, _ = tiled(catalog, tmp_path / "a.tif")
    assert_problem(refused(EXPERIMENTS, name="bands", scenes=["../a"]), 409, "such scenes are: a-pool")
    assert_problem(refused(SIMULATIONS), 409, "expected scenes with outlines in each of three roles")
    assert refused(SIMULATIONS, scenes=[scene.name]).status_code == 202  # cut into strips
    tiled(catalog, tmp_path / "b.tif", SceneRole.POOL, offset_px=200)
    assert_problem(refused(SIMULATIONS, scenes=["a-pool", "b-pool"]), 409, "found outlines for a-pool (pool), b-pool")


@pytest.mark.parametrize("role", ["reader", "annotator"])
def test_only_operators_see_and_make_them(
    catalog: Catalog, client: FlaskClient, operator: dict[str, str], role: str
) -> None:
    client.post(SIMULATIONS, json={"example": "everest"}, headers=operator)
    uid, headers = make(catalog, "simulation"), as_role(catalog, role)
    for path in (EXPERIMENTS, *(f"{EXPERIMENTS}/{uid}/{part}" for part in ("file", "table", "figure")), "/experiments"):
        assert client.get(path, headers=headers).status_code == 403
    for path in (EXPERIMENTS, SIMULATIONS):
        assert client.post(path, json={"name": "bands", "example": "everest"}, headers=headers).status_code == 403
    assert client.delete(f"{EXPERIMENTS}/{uid}", headers=headers).status_code == 403


def test_what_is_not_there_is_not_found(catalog: Catalog, client: FlaskClient, operator: dict[str, str]) -> None:
    for part in ("file", "table", "figure"):
        assert_problem(client.get(f"{NONE_SUCH}/{part}", headers=operator), 404, "there is no experiment")
    assert_problem(client.delete(NONE_SUCH, headers=operator), 404)
    client.post(SIMULATIONS, json={"example": "everest"}, headers=operator)
    uid = make(catalog, "another")  # whose files have other names than the simulation's
    assert_problem(client.get(f"{EXPERIMENTS}/{uid}/figure", headers=operator), 404, "found no png file")
    Path(catalog.settings.raster_store, raster_keys.data_set(uid)).unlink()
    told = "the file of this experiment is missing or damaged; make the experiment anew"
    assert_problem(client.get(f"{EXPERIMENTS}/{uid}/table", headers=operator), 404, told)


def page(client: FlaskClient, operator: dict[str, str]) -> tuple[str, str]:
    """Return the page as HTML, and its text."""
    response = client.get("/experiments", headers=operator)
    assert response.status_code == 200, response.text
    shown = Page(response.text)
    assert shown.open == []
    return response.text, " ".join(shown.text.split())


def test_the_page_shows_tables_and_what_can_be_done(
    catalog: Catalog, client: FlaskClient, operator: dict[str, str]
) -> None:
    html, words = page(client, operator)
    assert "None yet." in words
    assert "They take minutes to many hours" in words
    assert "No scene with outlines is ready." in words
    client.post(SIMULATIONS, json={"example": "everest", "strategies": ["random"]}, headers=operator)
    uid = make(catalog, "simulation")
    client.post(EXPERIMENTS, json={"name": "heads", "example": "synthetic"}, headers=operator)
    html, words = page(client, operator)
    assert "heads: Which task head: multiclass, binary, or two binary networks?" in words
    assert "waits for its turn" in words
    assert "Mean <IoU> strategy 12 labels random 0.512 ± 0.010" in words
    assert (
        "strategies: random; seeds: 3; rounds: 6; round size: 6; patch size: 64; steps: 100; annotator: brush" in words
    )
    assert f'src="{EXPERIMENTS}/{uid}/figure"' in html
    assert f'href="{EXPERIMENTS}/{uid}/table" download' in html
    assert html.count(f'data-call="DELETE {EXPERIMENTS}/') == 2
    assert len(re.findall(r'data-call="POST /api/v1/jobs/[0-9a-f]{32}/cancel"', html)) == 1


@pytest.mark.parametrize(("dialog", "options"), [("simulate", SimulationOptions), ("compare", ExperimentOptions)])
def test_the_dialogs_offer_every_option_with_its_default(
    catalog: Catalog, client: FlaskClient, operator: dict[str, str], tmp_path: Path, dialog: str, options: Any
) -> None:
    scene, _ = tiled(catalog, tmp_path / "khumbu.tif")
    form = page(client, operator)[0].partition(f'<dialog id="{dialog}"')[2].partition("</dialog>")[0]
    assert set(re.findall(r'name="([a-z_]+)"', form)) == set(options.model_fields)
    for name, field in options.model_fields.items():
        if isinstance(field.default, int):
            assert re.search(rf'name="{name}" type="number" [^>]* value="{field.default}"', form), name
    assert f'name="scenes" value="{scene.name}"' in form
