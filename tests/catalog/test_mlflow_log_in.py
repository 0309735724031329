"""MLflow as `up` starts it: our clients get in, nobody else does."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from al_server.app import create_app
from catalog.context import Catalog
from catalog.errors import ServiceDownError
from catalog.mlflow_log_in import PASSWORD_VARIABLE, USER_VARIABLE, log_in_of
from catalog.registry import CHAMPION, ModelRegistry, registry_of
from catalog.registry_copy import trouble
from catalog.secrets import load_or_create
from catalog.settings import Settings
from catalog.settings_sources import SettingsError
from catalog.tracking import Tracking
from cli.plan import plan
from cli.processes import _prepare_folders
from services.registry_watch import STALE_S, RegistryWatcher
from tests.real_services import free_port, running, wait_for_http

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("mlflow")
    settings = Settings(var_dir=folder / "var", mlflow_url=f"http://127.0.0.1:{free_port()}")
    settings = settings.model_copy(update={"redis_url": "redis://:x@127.0.0.1:9/0"})
    secrets = load_or_create(settings.secrets_file)
    _prepare_folders(settings)
    listed = plan(settings, secrets, label_studio_program=Path("unused"), environ={"PATH": "/usr/bin"}, cwd=folder)
    process = next(item for item in listed if item.name == "mlflow")
    log = process.cwd / "log.txt"  # whose folder is the working folder
    with running(process.argv, process.env, log=log) as started:
        wait_for_http(f"{settings.mlflow_url}/health", started, log)
        yield settings


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/api/2.0/mlflow/registered-models/get?name=glacier-segmenter"),
        ("POST", "/api/2.0/mlflow/registered-models/alias"),
        ("POST", "/ajax-api/2.0/mlflow/registered-models/alias"),
        ("GET", "/get-artifact?run_uuid=1&path=bundle/card.json"),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/bundle/model.onnx"),
        ("POST", "/graphql"),
    ],
)
def test_strangers_reach_nothing(mlflow: Settings, method: str, path: str) -> None:
    for log_in in (None, ("glacier-al", "wrong"), ("admin", "password1234")):
        assert requests.request(method, f"{mlflow.mlflow_url}{path}", auth=log_in, timeout=30).status_code == 401


def test_an_mlflow_of_ones_own_has_its_own_log_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(var_dir=tmp_path)
    monkeypatch.setenv(USER_VARIABLE, "glaciers")
    with pytest.raises(SettingsError, match="found only one of GLACIER_AL_MLFLOW_USERNAME"):
        log_in_of(settings)
    monkeypatch.setenv(PASSWORD_VARIABLE, "debris")
    assert log_in_of(settings) == ("glaciers", "debris")


def test_our_clients_get_in(mlflow: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(variable, "of another server")  # what the client sets is undone, too
    log_in = log_in_of(mlflow)
    assert log_in == ("glacier-al", load_or_create(mlflow.secrets_file).mlflow_password)
    (tmp_path / "card.json").write_text("{}")
    tracking = Tracking(mlflow.mlflow_url, mlflow.experiment, mlflow.registered_model, log_in=log_in)
    run = tracking.start_run("first", {}, {})
    version = tracking.register(run, tmp_path, {}, "for a test")
    registry = registry_of(mlflow)
    registry.move_alias(CHAMPION, version)
    champion = registry.champion()
    assert champion is not None and champion.version == version
    assert registry.artifact(champion, "card.json") == b"{}"
    catalog = Catalog(mlflow)
    catalog.database.migrate()
    assert create_app(catalog).extensions["parts"].bundles.registry.aliases()[CHAMPION] == version
    RegistryWatcher(catalog).look()
    with catalog.read() as session:
        assert trouble(session, STALE_S) is None
    catalog.close()
    stranger = ModelRegistry(mlflow.mlflow_url, mlflow.registered_model, log_in=("glacier-al", "wrong"))
    with pytest.raises(ServiceDownError, match="it refuses our log-in"):
        stranger.champion()
