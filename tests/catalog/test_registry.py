import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from uuid import uuid4

import pytest

from catalog.bundle_cache import FILES, BundleCache, CorruptBundleError, checksum_tag
from catalog.errors import NotFoundError, ServiceDownError
from catalog.registry import ModelRegistry, ModelVersion
from tests.catalog_fixtures import NOBODY

VERSION = ModelVersion(1, "0" * 32, datetime(2026, 1, 1, tzinfo=UTC), {"a": "0.5", "b": "nan"})

CALLS: list[Callable[[ModelRegistry], object]] = [
    lambda registry: registry.champion(),
    lambda registry: registry.get(1),
    lambda registry: registry.versions(10),
    lambda registry: registry.aliases(),
    lambda registry: registry.move_alias("champion", 1),
    lambda registry: registry.artifact(VERSION, "card.json"),
    lambda registry: registry.check(1.0),
]


@pytest.mark.parametrize("call", CALLS)
def test_mlflow_down_is_told_by_every_call(call: Callable[[ModelRegistry], object]) -> None:
    with pytest.raises(ServiceDownError, match=r"MLflow does not answer at http://127\.0\.0\.1:9"):
        call(ModelRegistry(NOBODY, "model"))


@pytest.fixture(params=[200, 500, 502, 503])
def stranger(request: pytest.FixtureRequest) -> Iterator[tuple[int, str]]:
    """A web server that is not MLflow: the status that it answers everything with, and its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param)
            self.end_headers()
            self.wfile.write(b"<html>Bad gateway</html>")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield request.param, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_is_not_mlflow_is_a_service_that_is_down(stranger: tuple[int, str]) -> None:
    with pytest.raises(ServiceDownError, match="MLflow"):
        ModelRegistry(stranger[1], "model").versions(10)


def test_what_a_stranger_answers_is_never_kept_as_a_file(stranger: tuple[int, str], tmp_path: Path) -> None:
    status, url = stranger
    # A 200 brings bytes that are not those of the version.
    expected = CorruptBundleError if status == 200 else ServiceDownError
    with pytest.raises(expected):
        BundleCache(ModelRegistry(url, "model"), tmp_path).file(VERSION, "card.json")
    assert list(tmp_path.iterdir()) == []


class HalfAway(BaseHTTPRequestHandler):
    """MLflow whose artifacts cannot be read, and whose database lists one of them."""

    def do_GET(self) -> None:
        is_listing = self.path.startswith("/api/2.0/mlflow/artifacts/list?")
        self.send_response(200 if is_listing else 500)
        self.end_headers()
        if is_listing:
            files = [{"path": "bundle/card.json", "is_dir": False, "file_size": 2}]
            self.wfile.write(json.dumps({"root_uri": "mlflow-artifacts:/1", "files": files}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_file_that_mlflow_lists_and_cannot_send_is_an_outage() -> None:
    with HTTPServer(("127.0.0.1", 0), HalfAway) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            registry = ModelRegistry(f"http://127.0.0.1:{server.server_port}", "model")
            with pytest.raises(ServiceDownError, match="get-artifact gave status 500"):
                registry.artifact(VERSION, "card.json")
            with pytest.raises(NotFoundError, match=r"no file bundle/model\.onnx in MLflow \(status 500\)"):
                registry.artifact(VERSION, "model.onnx")
        finally:
            server.shutdown()
            thread.join()


def registered(folder: Path) -> ModelVersion:
    """A version with the three files of a folder, which are written here."""
    tags = {}
    for name in FILES:
        (folder / name).write_text(f"content of {name}")
        tags[checksum_tag(name)] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return replace(VERSION, tags=tags)


def test_files_of_a_version_registered_from_here_are_not_fetched(tmp_path: Path) -> None:
    version = registered(tmp_path)
    cache = BundleCache(ModelRegistry(NOBODY, "model"), tmp_path / "cache")
    cache.adopt(version, tmp_path)
    folder = cache.directory(version)
    assert {file.name: file.read_text() for file in folder.iterdir()} == {name: f"content of {name}" for name in FILES}


def test_only_the_files_that_are_named_are_fetched(tmp_path: Path) -> None:
    version = registered(tmp_path)
    cache = BundleCache(ModelRegistry(NOBODY, "model"), tmp_path / "cache")
    cache.adopt(version, tmp_path)
    (cache.directory(version) / "model.onnx").unlink()
    assert cache.directory(version, ("card.json",)).is_dir()
    with pytest.raises(ServiceDownError):
        cache.directory(version)


def test_files_that_are_not_those_registered_are_not_taken_over(tmp_path: Path) -> None:
    version = registered(tmp_path)
    (tmp_path / "card.json").write_text("another")
    with pytest.raises(CorruptBundleError, match=r"card\.json of version 1"):
        BundleCache(ModelRegistry(NOBODY, "model"), tmp_path / "cache").adopt(version, tmp_path)
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def model_name() -> str:
    return f"model-{uuid4().hex}"


@pytest.mark.slow
def test_a_model_without_versions_has_none(mlflow_server: str, model_name: str) -> None:
    registry = ModelRegistry(mlflow_server, model_name)
    assert (registry.champion(), registry.versions(10), registry.aliases()) == (None, [], {})
    with pytest.raises(NotFoundError, match="no version 1 of the model"):
        registry.move_alias("champion", 1)


@pytest.mark.slow
def test_a_run_leaves_defined_metrics_its_status_and_a_version(
    mlflow_server: str, model_name: str, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    from catalog.tracking import Tracking

    (tmp_path / "card.json").write_text("{}")
    tracking = Tracking(mlflow_server, f"experiment-{model_name}", model_name)
    run_id = tracking.start_run("fine-tune 1", {"steps": 5}, {"trigger": "by hand"})
    tracking.log_metrics(run_id, {"train.loss": 0.5, "validation.iou": float("nan")}, 10)
    version = tracking.register(run_id, tmp_path, {"verdict": "kept"}, "the reason")
    tracking.end_run(run_id, "KILLED")

    run = MlflowClient(mlflow_server).get_run(run_id)
    assert run.data.metrics == {"train.loss": 0.5}
    assert (run.data.params, run.data.tags["trigger"]) == ({"steps": "5"}, "by hand")
    assert run.info.status == "KILLED"
    registry = ModelRegistry(mlflow_server, model_name)
    (found,) = registry.versions(10)
    assert (found.version, found.run_id, found.tags) == (version, run_id, {"verdict": "kept"})
    assert registry.get(version) == found
    assert registry.artifact(found, "card.json") == b"{}"
    with pytest.raises(NotFoundError, match=r"no file bundle/model\.onnx"):
        registry.artifact(found, "model.onnx")
    with pytest.raises(NotFoundError, match=r"no file bundle/card\.json"):
        registry.artifact(replace(found, run_id="0" * 32), "card.json")
    registry.move_alias("champion", version)
    assert registry.champion() == found
    assert registry.aliases() == {"champion": version}


@pytest.mark.slow
def test_writing_to_mlflow_while_it_is_down_is_an_outage() -> None:
    from catalog.tracking import Tracking

    tracking = Tracking(NOBODY, "experiment", "model")
    for call in (
        lambda: tracking.start_run("run", {}, {}),
        lambda: tracking.log_metrics("0" * 32, {"loss": 1.0}, 1),
        lambda: tracking.end_run("0" * 32, "KILLED"),
    ):
        with pytest.raises(ServiceDownError, match="MLflow"):
            call()


@pytest.mark.slow
def test_versions_are_listed_newest_first_and_page_by_page(mlflow_server: str, model_name: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_server)
    client.create_registered_model(model_name)
    for _ in range(60):  # more than one page
        client.create_model_version(model_name, "s3://bucket/nowhere")
    registry = ModelRegistry(mlflow_server, model_name)

    def listed(limit: int, before: int | None = None) -> list[int]:
        return [version.version for version in registry.versions(limit, before)]

    assert listed(3) == [60, 59, 58]
    assert listed(1000) == list(range(60, 0, -1))
    assert listed(2, before=59) == [58, 57]
    assert listed(5, before=4) == [3, 2, 1]
    assert listed(5, before=1) == []
