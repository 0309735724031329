"""Alert rules, dashboard and runbook name what the server really exports, and Prometheus's own tool accepts them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from catalog import jobs, registry_copy, scorings
from catalog.canary_records import CanaryComparison
from catalog.context import Catalog
from catalog.decision_records import Promotion
from catalog.records import Job, JobKind, Scoring, Shard, ShardKind, now
from catalog.registry import CHAMPION, LEARNER, ModelVersion
from services.free_disk import DISK_FULL_BYTES, DISK_LOW_BYTES
from tests.catalog_fixtures import add_scene, add_scoring, as_role

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "docker" / "prometheus"
DASHBOARD = ROOT / "docker" / "grafana" / "dashboards" / "glacier-al.json"
RULES = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"][0]["rules"]
RUNBOOK = (ROOT / "docs" / "operations.md").read_text()
METRIC = re.compile(r"glacier_al_\w+")
PANELS = json.loads(DASHBOARD.read_text())["panels"]


def expressions() -> Iterator[tuple[str, str]]:
    """All expressions of rules and panels, each with the name of its place."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel.get("targets", []):
            yield f"{panel['title']} {target['refId']}", target["expr"]


def labels_in(expression: str) -> set[tuple[str, str]]:
    """The labels that an expression selects by, and those of its legends."""
    return {
        (metric, label)
        for metric, selector in re.findall(r"(glacier_al_\w+)\{([^}]*)\}", expression)
        for label in re.findall(r"(\w+)[!=~]+", selector)
    }


@pytest.fixture
def exported(client: FlaskClient, catalog: Catalog) -> dict[str, dict[str, Any]]:
    """What a server exports that has served two versions, while the pool is scored: by metric its labels and values."""
    tags = {"validation.mean_iou": "0.61"}
    with catalog.database.write() as session:
        add_scene(session)
        registry_copy.store(session, [ModelVersion(2, "run", now(), tags), ModelVersion(3, "run", now(), tags)])
        registry_copy.set_aliases(session, {CHAMPION: 2, LEARNER: 3})
        registry_copy.note_seen(session)
        decision = Promotion(model_version=2, previous_version=1, verdict="promoted", reason="better", actor="gate")
        counts = [[3, 1], [0, 4]]
        limits = {"change_limit": 0.2, "area_limit": 0.5, "alerts": ["more ice"]}
        session.add(CanaryComparison(decision=decision, patches=1, classes=["no ice", "ice"], counts=counts, **limits))
        complete = add_scoring(session, 2, {})
        scorings.complete(session, complete, {"entropy_top10": 0.8})
        running = Scoring(model_version=3, passes=20, seed=0)
        session.add(running)
        session.flush()
        place = {"scene_id": 1, "first_row": 0, "last_row": 0, "patch_count": 5}
        session.add(Shard(scoring_id=running.id, kind=ShardKind.MONTE_CARLO, **place))
        jobs.enqueue(session, JobKind.TILE_SCENE, scene_id=1)
        for job in session.query(Job):
            job.run_after = now().replace(year=2025)
    text = client.get("/metrics", headers=as_role(catalog, "reader")).get_data(as_text=True)
    return {
        family.name: {
            "labels": {name for sample in family.samples for name in sample.labels},
            "samples": family.samples,
        }
        for family in text_string_to_metric_families(text)
    }


def test_every_metric_of_rules_and_dashboard_is_exported_with_its_labels(exported: dict[str, dict[str, Any]]) -> None:
    for place, expression in expressions():
        for metric in METRIC.findall(expression):
            assert metric in exported, place
        for metric, label in labels_in(expression):
            assert label in exported[metric]["labels"], place
    for panel in PANELS:
        for target in panel.get("targets", []):
            (metric, *_) = METRIC.findall(target["expr"]) or [None]
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert label in exported[metric]["labels"], panel["title"]


def test_the_runbook_explains_every_metric_that_is_exported(exported: dict[str, dict[str, Any]]) -> None:
    table = RUNBOOK.partition("| metric | meaning |")[2].partition("\n\n")[0]
    explained = set(METRIC.findall(re.sub(r"\{\w+\}", "", table)))
    assert explained == set(exported)


def test_the_runbook_has_a_row_for_every_alert(exported: dict[str, dict[str, Any]]) -> None:
    rows = re.findall(r"^\| `(Glacier\w+)` \| (\w+) \| (.+) \| (.+) \|$", RUNBOOK, re.MULTILINE)
    assert [(name, severity) for name, severity, *_ in rows] == [
        (rule["alert"], rule["labels"]["severity"]) for rule in RULES
    ]


def test_waiting_jobs_and_free_disk_are_told(exported: dict[str, dict[str, Any]]) -> None:
    waits = {sample.labels["queue"]: sample.value for sample in exported["glacier_al_queue_wait_seconds"]["samples"]}
    assert waits["labels"] == waits["compute"] == 0
    assert waits["io"] > 86_400
    (free,) = exported["glacier_al_disk_free_bytes"]["samples"]
    assert free.value > 0
    # No clock runs here.
    up = {sample.labels["part"]: sample.value for sample in exported["glacier_al_part_up"]["samples"]}
    assert up == {"clock": 0, "redis": 0, "mlflow": 0, "label-studio": 0}


def test_alerts_call_the_disk_full_where_the_server_does() -> None:
    limits = {rule["alert"]: float(rule["expr"].rpartition("<")[2]) for rule in RULES if "Disk" in rule["alert"]}
    assert limits == {"GlacierDiskLow": DISK_LOW_BYTES, "GlacierDiskFull": DISK_FULL_BYTES}


def test_panels_have_places_of_their_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in PANELS
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


def promtool(*arguments: str | Path) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool (apt-get install prometheus): the rules are only compared with what is exported")
    done = subprocess.run([program, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_accepts_rules_and_configuration() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", "alerts.yml")
    promtool("check", "config", "--syntax-only", "prometheus.yml")


def test_alerts_are_raised_when_they_should_be() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")
    tested = (PROMETHEUS / "alerts_test.yml").read_text()
    assert [rule["alert"] for rule in RULES if f'alertname="{rule["alert"]}"' not in tested] == []


def test_prometheus_understands_every_panel(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": text} for number, (_, text) in enumerate(expressions())]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)
