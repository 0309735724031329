"""Taken ports are named and stepped over."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.settings import Settings
from cli.errors import StartError
from cli.ports import choose_ports
from tests.real_services import free_port


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def settings_with(tmp_path: Path, **urls: str) -> Settings:
    names = ("api_url", "label_studio_url", "mlflow_url")
    free = {name: f"http://127.0.0.1:{free_port()}" for name in names}
    return Settings(var_dir=tmp_path, **{**free, "redis_url": f"redis://127.0.0.1:{free_port()}/0", **urls})


def test_free_ports_are_kept_in_silence(tmp_path: Path):
    settings = settings_with(tmp_path)
    said: list[str] = []
    chosen = choose_ports(settings, "word", said.append)
    assert said == []
    assert chosen.mlflow_url == settings.mlflow_url
    assert chosen.redis_url == settings.redis_url.replace("//", "//:word@")


def test_a_taken_port_moves_to_the_next_and_is_named(tmp_path: Path, taken_port: int):
    said: list[str] = []
    settings = settings_with(tmp_path, label_studio_url=f"http://127.0.0.1:{taken_port}")
    port = int(choose_ports(settings, "word", said.append).label_studio_url.rsplit(":", 1)[1])
    assert taken_port < port < taken_port + 100
    assert said == [f"Port {taken_port} is taken; Label Studio uses {port} instead."]


def test_two_servers_never_get_one_port(tmp_path: Path):
    url = f"http://127.0.0.1:{free_port()}"
    chosen = choose_ports(settings_with(tmp_path, api_url=url, mlflow_url=url), "word", [].append)
    assert chosen.api_url == url
    assert chosen.mlflow_url != url


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("mlflow_url", "http://mlflow.example.org:5000"),
        ("api_url", "https://127.0.0.1:8000"),
        ("label_studio_url", "http://127.0.0.1"),
        ("redis_url", "redis://:hidden@queue.example.org:6379/0"),
    ],
)
def test_a_server_elsewhere_is_refused_by_the_name_of_its_setting(tmp_path: Path, name: str, url: str):
    with pytest.raises(StartError, match=f"GLACIER_AL_{name.upper()} leads to") as caught:
        choose_ports(settings_with(tmp_path, **{name: url}), "word", [].append)
    assert "hidden" not in caught.value.message
