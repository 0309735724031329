"""A first start that is stopped on the way, in each of the ways there are, leaves a folder that starts again."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest

from catalog.secrets import load_or_create
from tests.real_services import free_port, running, wait_until
from tests.system.test_up import PROGRAM, STOP_S

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def tables(database: Path) -> int:
    """Count the tables that a program has made so far."""
    if not database.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=0.1)) as connection:
            return int(connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0])
    except sqlite3.Error:  # it is being written
        return 0


def test_it_survives_being_stopped_while_the_databases_are_made(tmp_path: Path):
    var_dir = tmp_path / "var"
    mlflow, label_studio = var_dir / "mlflow" / "mlflow.db", var_dir / "label-studio" / "label_studio.sqlite3"
    ports = {name: free_port() for name in ("api", "label_studio", "mlflow", "redis")}
    environment = {f"GLACIER_AL_{name.upper()}_URL": f"http://127.0.0.1:{port}" for name, port in ports.items()}
    environment |= {"GLACIER_AL_REDIS_URL": f"redis://127.0.0.1:{ports['redis']}/0"}
    environment |= {"GLACIER_AL_VAR_DIR": str(var_dir)}
    log = tmp_path / "up.txt"

    with running(PROGRAM, environment, log=log) as up:
        wait_until(lambda: tables(mlflow) >= 8, up, log)
        os.kill(up.pid, signal.SIGINT)  # Ctrl-C
        assert up.wait(STOP_S) == 0
    assert log.read_text().endswith("Stopping ...\nStopped.\n")

    with running(PROGRAM, environment, log=log) as up:
        wait_until(lambda: tables(label_studio) >= 5 and tables(mlflow) >= 4, up, log)
        parts = psutil.Process(up.pid).children(recursive=True)
        up.kill()
        up.wait()
    assert not psutil.wait_procs(parts, STOP_S)[1]  # nothing stays for ever

    aside = [database.with_name(f"{database.name}.half-made-1") for database in (mlflow, label_studio)]
    with running(PROGRAM, environment, log=log) as up:
        # Once the half-made databases are set aside, the tables are those of this start.
        wait_until(lambda: all(file.exists() for file in aside), up, log)
        wait_until(lambda: tables(label_studio) >= 20 and tables(mlflow) >= 4, up, log)
        for part in psutil.Process(up.pid).children(recursive=True):
            if any("mlflow" in word or "label-studio" in word for word in part.cmdline()[:4]):
                part.kill()
        wait_until(lambda: "Everything is ready." in log.read_text(), up, log)
        for name in ("mlflow", "label-studio"):
            assert f"{name} ended by itself and is started again." in log.read_text()
        secrets = load_or_create(var_dir / "secrets.json")
        who = httpx.get(
            f"http://127.0.0.1:{ports['label_studio']}/api/current-user/whoami",
            headers={"Authorization": f"Token {secrets.label_studio_token}"},
        )
        assert who.status_code == httpx.codes.OK
        experiment = f"http://127.0.0.1:{ports['mlflow']}/api/2.0/mlflow/experiments/create"
        log_in = ("glacier-al", secrets.mlflow_password)
        assert httpx.post(experiment, json={"name": "the first"}, auth=log_in).status_code == httpx.codes.OK
