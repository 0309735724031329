from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from rq import Worker
from rq.serializers import JSONSerializer
from sqlalchemy import select

from al_server.app import create_app
from catalog import labels
from catalog.context import Catalog
from catalog.job_queue import COMPUTE, IO, LABELS, UPKEEP
from catalog.records import Proposal
from catalog.registry_records import PartState
from catalog.settings import Settings
from services.free_disk import DISK_FULL_BYTES
from services.part_checks import check_parts
from services.registry_watch import RegistryWatcher
from tests.catalog_fixtures import NO_REDIS, add_round, add_scene, as_role, label_of


def parts_of(client: FlaskClient, catalog: Catalog) -> dict[str, str]:
    """Return what a reader is told of each part."""
    found: dict[str, str] = client.get("/readyz", headers=as_role(catalog, "reader")).json["parts"]
    return found


def test_alive_says_nothing_of_others(client: FlaskClient) -> None:
    response = client.get("/healthz")
    assert (response.status_code, response.json) == (200, {"alive": True})


def test_strangers_are_told_only_whether_all_is_ready(client: FlaskClient) -> None:
    for headers in ({}, {"Authorization": "Bearer of another server"}):
        response = client.get("/readyz", headers=headers)
        assert (response.status_code, response.json) == (503, {"ready": False, "parts": None})


def test_readiness_names_each_part_and_what_is_wrong_with_it(client: FlaskClient, catalog: Catalog) -> None:
    check_parts(catalog)
    RegistryWatcher(catalog).look()
    response = client.get("/readyz", headers=as_role(catalog, "reader"))
    assert response.status_code == 503
    assert response.json["ready"] is False
    parts = response.json["parts"]
    assert parts["database"] == "ok"
    assert "no worker listens to labels, io, upkeep, compute" in parts["redis"]
    assert "MLflow does not answer at http://127.0.0.1:9" in parts["mlflow"]
    assert "Label Studio at http://127.0.0.1:9 cannot be reached" in parts["label-studio"]


def test_a_queue_without_worker_is_named(client: FlaskClient, catalog: Catalog) -> None:
    for queue in (LABELS, IO, UPKEEP):
        Worker([queue], connection=catalog.queue.connection, serializer=JSONSerializer).register_birth()
    check_parts(catalog)
    assert "no worker listens to compute (" in parts_of(client, catalog)["redis"]
    other = Worker([COMPUTE], connection=catalog.queue.connection, serializer=JSONSerializer)
    other.register_birth()
    check_parts(catalog)
    assert parts_of(client, catalog)["redis"] == "ok"


def test_a_clock_that_does_not_tick_is_named(client: FlaskClient, catalog: Catalog) -> None:
    for part in ("clock", "redis", "mlflow", "label-studio"):
        assert "not checked since its start: the clock does that" in parts_of(client, catalog)[part]
    check_parts(catalog)
    assert parts_of(client, catalog)["clock"] == "ok"
    with catalog.database.write() as session:
        for row in session.scalars(select(PartState)):
            row.checked_at -= timedelta(seconds=100)
    assert "not checked for 10" in parts_of(client, catalog)["clock"]


@pytest.mark.parametrize(("free", "told"), [(DISK_FULL_BYTES, None), (DISK_FULL_BYTES - 1, "make room, or drawings")])
def test_a_full_disk_is_named(
    client: FlaskClient, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, free: int, told: str | None
) -> None:
    monkeypatch.setattr("services.free_disk.free_bytes", lambda _: free)
    monkeypatch.setattr("al_server.health.part_faults", lambda _: {"clock": None})  # all others are ready
    response = client.get("/readyz", headers=as_role(catalog, "reader"))
    assert (response.status_code, response.json["ready"]) == ((200, True) if told is None else (503, False))
    assert (told or "ok") in response.json["parts"]["disk"]
    assert client.get("/readyz").json == {"ready": told is None, "parts": None}


def test_redis_down_is_named(settings: Settings) -> None:
    down = Catalog(settings.model_copy(update={"redis_url": NO_REDIS}))
    check_parts(down)
    parts = parts_of(create_app(down).test_client(), down)
    assert "Redis does not answer at 127.0.0.1:9" in parts["redis"]
    down.close()


@pytest.fixture
def samples(client: FlaskClient, catalog: Catalog) -> dict[tuple[str, str], float]:
    """The metrics of a loop in which one of three proposed patches is labelled, by name and state."""
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, proposals = add_round(session, patches[:3])
        labels.store(session, label_of(session, session.get_one(Proposal, proposals[0].id), 1))
    response = client.get("/metrics", headers=as_role(catalog, "reader"))
    assert response.content_type.startswith("text/plain; version=")
    families = text_string_to_metric_families(response.text)
    return {
        (sample.name, sample.labels.get("state", "")): sample.value for family in families for sample in family.samples
    }


def test_metrics_tell_the_state_of_the_loop(samples: dict[tuple[str, str], float]) -> None:
    expected = {
        ("glacier_al_patches", "unlabelled"): 17,
        ("glacier_al_patches", "proposed"): 2,
        ("glacier_al_patches", "labelled"): 1,
        ("glacier_al_proposals", "published"): 2,
        ("glacier_al_proposals", "labelled"): 1,
        ("glacier_al_rounds", "open"): 1,
        ("glacier_al_label_events", "applied"): 1,
        ("glacier_al_labels", ""): 1,
        ("glacier_al_new_labels", ""): 1,
    }
    assert {name: samples[name] for name in expected} == expected


def test_a_state_that_nothing_is_in_is_zero(samples: dict[tuple[str, str], float]) -> None:
    assert samples["glacier_al_jobs", "failed"] == 0
    assert samples["glacier_al_label_events", "failed"] == 0


def test_figures_of_a_champion_that_is_not_known_are_absent(samples: dict[tuple[str, str], float]) -> None:
    assert not [name for name, _ in samples if "champion" in name]
