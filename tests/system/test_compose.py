"""``docker/compose.yaml`` runs what ``glacier-al up`` runs. There is no Docker here: the file is read, not started."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.job_queue import QUEUES
from catalog.secrets import Secrets, load_or_create
from catalog.settings import Settings
from cli.plan import Process, plan
from workers.main import NICENESS

DOCKER = Path(__file__).parents[2] / "docker"
OUR_OWN = ["api", "worker-labels", "worker-io", "worker-upkeep", "worker-compute", "clock"]
SECRETS = Secrets()
TUNING = re.compile(r"(MALLOC_|OMP_|OPENBLAS_).*")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def interpolate(text: str, environment: dict[str, str]) -> str:
    """Fill in variables as Compose does, those inside of defaults first."""

    def value(found: re.Match[str]) -> str:
        return environment.get(found[1]) or found[2] or ""

    while (filled := re.sub(r"\$\{(\w+)(?::-([^${}]*)|:\?[^${}]*)?\}", value, text)) != text:
        text = filled
    return text


@pytest.fixture(scope="module")
def processes() -> dict[str, Process]:
    listed = plan(Settings(), SECRETS, label_studio_program=Path("label-studio"), environ={}, cwd=Path())
    return {process.name: process for process in listed}


def test_the_services_are_our_processes(compose: dict[str, Any], processes: dict[str, Process]):
    # The migration ends by itself, PostgreSQL takes the place of SQLite, and secrets are made once.
    started = {name for name, service in compose["services"].items() if "monitoring" not in service.get("profiles", [])}
    assert started == {*processes, "migration", "postgres", "make-secrets"}


@pytest.mark.parametrize("name", OUR_OWN)
def test_our_commands_are_the_same(compose: dict[str, Any], processes: dict[str, Process], name: str):
    # In a container of its own, loopback is out of everybody's reach.
    listen = ["--host", "0.0.0.0"] if name == "api" else []  # noqa: S104
    assert compose["services"][name]["command"] == ["python", *processes[name].argv[1:], *listen]


@pytest.mark.parametrize("name", [*OUR_OWN, "mlflow", "label-studio"])
def test_the_tuning_is_the_same(compose: dict[str, Any], processes: dict[str, Process], name: str):
    def tuning(environment: dict[str, str]) -> dict[str, str]:
        return {key: value for key, value in environment.items() if TUNING.fullmatch(key)}

    assert tuning(compose["services"][name]["environment"]) == tuning(dict(processes[name].env))


@pytest.mark.parametrize("name", ["worker-labels", "worker-io", "worker-upkeep", "worker-compute"])
def test_workers_get_the_same_time_to_stop(compose: dict[str, Any], processes: dict[str, Process], name: str):
    assert compose["services"][name]["stop_grace_period"] == f"{processes[name].stop_s}s"


@pytest.mark.parametrize("queue", QUEUES)
def test_workers_stand_back_as_far(compose: dict[str, Any], queue: str):
    """Linux divides a step of niceness by 1.25, from 1024 (sched(7), sched_prio_to_weight)."""
    assert compose["services"][f"worker-{queue}"]["cpu_shares"] == round(1024 / 1.25 ** NICENESS[queue])
    assert "cpu_shares" not in compose["services"]["api"]  # 1024 by default


def test_mlflow_is_as_frugal(compose: dict[str, Any], processes: dict[str, Process]):
    service, process = compose["services"]["mlflow"], processes["mlflow"]
    assert "--workers=1" in service["command"]
    for variable in ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "MLFLOW_DISABLE_TELEMETRY"):
        assert service["environment"][variable] == process.env[variable]


def test_mlflow_asks_for_the_same_log_in(compose: dict[str, Any], processes: dict[str, Process]):
    service, process = compose["services"]["mlflow"], processes["mlflow"]
    assert "--app-name=basic-auth" in service["command"]
    assert process.argv[-2:] == ("--app-name", "basic-auth")
    for variable in ("MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_BASIC_AUTH_FAIL_CLOSED"):
        assert service["environment"][variable] == process.env[variable]
    script = (DOCKER / "mlflow.sh").read_text()
    by_script = set(re.findall(r"^(MLFLOW_\w+)=", script, re.MULTILINE))
    assert by_script == {"MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"}
    assert by_script | {name for name in service["environment"] if "AUTH" in name} == {
        name for name in process.env if "AUTH" in name or "SECRET" in name
    }
    mounts = [volume.split(":")[0] for volume in service["volumes"] if volume.startswith(".")]
    assert all((DOCKER / mount).is_file() for mount in mounts)
    assert Path(process.env["MLFLOW_AUTH_CONFIG_PATH"]).is_file()


def test_label_studio_is_set_up_the_same(compose: dict[str, Any], processes: dict[str, Process]):
    ours = {key: value for key, value in processes["label-studio"].env.items() if key.startswith("LABEL_STUDIO_")}
    theirs = compose["services"]["label-studio"]["environment"]
    theirs = {key: value for key, value in theirs.items() if key.startswith("LABEL_STUDIO_")}
    script = (DOCKER / "label-studio.sh").read_text()
    # `up` passes it on from its own environment.
    assert theirs.pop("LABEL_STUDIO_CSRF_TRUSTED_ORIGINS") == "${LABEL_STUDIO_CSRF_TRUSTED_ORIGINS:-}"
    assert set(theirs) | set(re.findall(r"^(LABEL_STUDIO_\w+)=", script, re.MULTILINE)) == set(ours)
    of_the_place = {"LABEL_STUDIO_BASE_DATA_DIR", "LABEL_STUDIO_ALLOWED_HOSTS"}
    assert {key: theirs[key] for key in set(theirs) - of_the_place} == {
        key: ours[key] for key in set(theirs) - of_the_place
    }


def test_settings_named_in_the_file_exist(compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    environment = compose["services"]["api"]["environment"]
    script = (DOCKER / "with-secrets.sh").read_text()
    for variable, value in [*environment.items(), *re.findall(r'^(GLACIER_AL_\w+)="(.*)"', script, re.MULTILINE)]:
        filled = interpolate(str(value), {"GLACIER_AL_HOST": "filled.in"})
        monkeypatch.setenv(variable, re.sub(r"\$\(.*?\)", "filled.in", filled))
    settings = Settings(var_dir=tmp_path)
    assert settings.database_url == "postgresql+psycopg://glacier_al:filled.in@postgres/glacier_al"
    assert settings.api_url == "http://filled.in:8000"


def test_addresses_of_a_proxy_replace_those_of_this_machine(compose: dict[str, Any]):
    environment = compose["services"]["api"]["environment"]
    names = ("GLACIER_AL_API_URL", "GLACIER_AL_LABEL_STUDIO_PUBLIC_URL", "GLACIER_AL_MLFLOW_PUBLIC_URL")
    here = {"GLACIER_AL_HOST": "a.example"}
    assert [interpolate(environment[name], here) for name in names] == [
        "http://a.example:8000",
        "http://a.example:8080",
        "http://localhost:5000",  # published on loopback only
    ]
    proxy = {"GLACIER_AL_API_URL": "https://a.example", "GLACIER_AL_LABEL_STUDIO_PUBLIC_URL": "https://a.example:8443"}
    assert [interpolate(environment[name], here | proxy) for name in names] == [
        "https://a.example",
        "https://a.example:8443",
        "http://localhost:5000",
    ]


def test_mlflow_answers_to_the_address_that_links_lead_to(compose: dict[str, Any]):
    public = compose["services"]["api"]["environment"]["GLACIER_AL_MLFLOW_PUBLIC_URL"]
    allowed = compose["services"]["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert public.removeprefix("http://") in allowed


def test_secrets_are_files_that_make_secrets_makes(compose: dict[str, Any], tmp_path: Path):
    for _ in range(2):  # a second run keeps what it finds
        subprocess.run([sys.executable, DOCKER / "make_secrets.py", tmp_path], check=True)
        made = {path.name: path.read_text() for path in tmp_path.iterdir()}
        assert set(made) == set(compose["secrets"])
    secrets = load_or_create(tmp_path / "glacier_al.json")
    assert made["redis_password"] == secrets.redis_password
    assert made["label_studio_token"] == secrets.label_studio_token
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    used = {name for service in compose["services"].values() for name in service.get("secrets", [])}
    assert used == set(compose["secrets"])


def test_the_wrapper_reads_passwords_from_files_and_runs_the_command(tmp_path: Path):
    script = (DOCKER / "with-secrets.sh").read_text().replace("/run/secrets", str(tmp_path))
    (tmp_path / "postgres_password").write_text("pg")
    (tmp_path / "redis_password").write_text("rd")
    done = subprocess.run(
        ["sh", "-c", script, "with-secrets.sh", "env"], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert "GLACIER_AL_DATABASE_URL=postgresql+psycopg://glacier_al:pg@postgres/glacier_al\n" in done.stdout
    assert "GLACIER_AL_REDIS_URL=redis://:rd@redis:6379/0\n" in done.stdout


def test_only_the_pages_people_use_are_published(compose: dict[str, Any]):
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert published == {
        "api": ["8000:8000"],
        "label-studio": ["8080:8080"],
        "mlflow": ["127.0.0.1:5000:5000"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }
