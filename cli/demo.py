"""``glacier-al demo``: run the whole loop on a real scene, with real services and a simulated annotator."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from catalog.context import Catalog
from catalog.settings import Settings
from cli.api_client import POLL_S, ApiClient
from cli.everest import everest_scenes
from cli.output import console
from cli.report import write_report
from cli.round_record import RoundRecord, predicted_classes
from cli.running import running_settings
from cli.scene_commands import register_here
from cli.simulated_annotator import SimulatedAnnotator, sign_in
from imagery.classes import GLACIER_SCHEME
from imagery.describe_scene import describe
from imagery.everest import prepare
from imagery.grid import Window
from imagery.masks import rasterize_outlines
from labeling.client import LabelStudio
from services.label_studio import connect

ROUND_SIZE = 6
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 60.0
# A small network for a small scene: 64 px patches of 30 m; see docs/benchmarks.md for how these were chosen.
DEMO_SETTINGS = {
    "unet_depth": "3",
    "unet_width": "16",
    "fine_tune_steps": "150",
    "fine_tune_after_labels": str(ROUND_SIZE),
    "round_size": str(ROUND_SIZE),
    "control_share": "0.17",
}


def run_demo(rounds: int) -> None:
    """Run the loop for a number of rounds, print the table, and write ``report.json`` and ``report.html``.

    Raises:
        ClickException: a part failed; its message says which.
    """
    folder = Settings().var_dir / "demo"
    system = folder / "system"
    shutil.rmtree(system, ignore_errors=True)  # every demonstration starts from an empty folder
    system.mkdir(parents=True)
    os.environ["GLACIER_AL_VAR_DIR"] = str(system)
    for name, value in DEMO_SETTINGS.items():
        os.environ.setdefault(f"GLACIER_AL_{name}".upper(), value)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # raises SystemExit, so that the system is stopped
    started = time.monotonic()
    with _running_system(folder / "up.log"):
        catalog = Catalog(running_settings())
        try:
            records = _run_rounds(catalog, rounds)
            seconds = time.monotonic() - started
            _print_table(records, seconds)
            report = write_report(folder, catalog, records, seconds)
        finally:
            catalog.close()
    click.echo(f"The report with pictures is {report}")


@contextmanager
def _running_system(log: Path) -> Iterator[None]:
    """Run ``glacier-al up`` during the block."""
    click.echo("Starting the system (Label Studio makes its database: this takes half a minute)")
    log.unlink(missing_ok=True)
    log.touch(mode=0o600)  # up prints the operator's token and the log-in
    with log.open("w") as output:
        command = [sys.executable, "-m", "cli.main", "up"]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        _wait_until_ready(process, log)
        yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(STOP_TIMEOUT_S)


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise click.ClickException(f"the system did not start:\n{log.read_text()[-3000:]}")
        said = log.read_text()
        if "Everything is ready." in said:
            return
        if "Not everything is ready" in said:
            break
        time.sleep(POLL_S)
    raise click.ClickException(f"the system is not ready:\n{log.read_text()[-3000:]}")


def _run_rounds(catalog: Catalog, rounds: int) -> list[RoundRecord]:
    api = ApiClient(catalog.settings.api_url, catalog.secrets.operator_token)
    for request in everest_scenes(catalog.settings.scene_root / "everest"):
        register_here(request)
    api.wait("the scenes", lambda: all(scene["state"] == "ready" for scene in api.get("scenes")))
    annotator = _annotator(catalog, api)
    records = []
    for number in range(1, rounds + 1):
        records.append(_run_round(api, annotator, number))
        click.echo(_line(records[-1]))
    return records


def _run_round(api: ApiClient, annotator: SimulatedAnnotator, number: int) -> RoundRecord:
    seconds: dict[str, float] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        seconds[name] = round(time.monotonic() - began, 1)

    with stage("choose and publish"):
        opened = api.post("rounds", {"seed": number})["round"]
        api.wait("the round", lambda: api.get(f"rounds/{number}")["state"] == "open")
    with stage("label"):
        annotator.label_all()
        api.wait("the labels", lambda: api.get(f"rounds/{number}")["state"] == "complete")
    with stage("fine-tune"):
        api.wait("the version", lambda: len(api.get("models")) == number)
        api.wait_for_jobs("the fine-tune", "fine_tune")
    with stage("score"):
        api.wait_for_jobs("the scores", "score_pool", "score_shard")
    newest = api.get("models")[0]
    return RoundRecord(
        round=number,
        strategy=opened["strategy"],
        labels=newest["labels"],
        version=newest["version"],
        parent=newest["parent_version"],
        promoted=newest["verdict"] == "promoted",
        verdict=newest["verdict_reason"],
        iou=newest["iou"],
        gain=newest["gain"],
        champion=api.get("models/latest")["version"],
        gate=newest["gate"],
        seconds=seconds,
    )


def _annotator(catalog: Catalog, api: ApiClient) -> SimulatedAnnotator:
    """Create the account of the simulated annotator; return it with the truth and the patches of the pool."""
    everest = prepare(catalog.settings.scene_root / "everest")
    truth = rasterize_outlines(everest.outlines, describe(everest.bands, everest.regions["pool"]).grid, GLACIER_SCHEME)
    pool = next(scene for scene in api.get("scenes") if scene["role"] == "pool")
    settings = catalog.settings
    administrator = LabelStudio(settings.label_studio_url, catalog.secrets.label_studio_token)
    studio = sign_in(
        administrator, settings.label_studio_url, settings.simulated_annotator_email, secrets.token_urlsafe(16)
    )
    project_id = connect(catalog, administrator)
    return SimulatedAnnotator(studio, project_id, truth, _windows(api, pool["id"]), GLACIER_SCHEME)


def _windows(api: ApiClient, scene_id: int) -> dict[int, Window]:
    windows: dict[int, Window] = {}
    page: dict[str, Any] = {"features": [{"id": 0}], "next": True}
    while page["next"]:
        page = api.get(f"scenes/{scene_id}/patches", after=max(windows, default=0), limit=500)
        for feature in page["features"]:
            place = feature["properties"]
            windows[feature["id"]] = Window(place["row_off"], place["col_off"], place["size_px"], place["size_px"])
    return windows


def _line(record: RoundRecord) -> str:
    mean = _figure(record.iou["test"]["mean"])
    took = sum(record.seconds.values())
    return (
        f"Round {record.round} ({record.strategy}): {record.labels} labels, version {record.version}, "
        f"{'promoted' if record.promoted else 'kept as challenger'}, test mean IoU {mean} ({took:.0f} s)"
    )


def _print_table(records: list[RoundRecord], seconds: float) -> None:
    """Print what each round brought: IoU on the test region, gain on the validation region, seconds by stage."""
    table = Table(
        title="IoU on the held-out test region; gain on the validation region", caption=f"{seconds:.0f} s in all"
    )
    judged = ("mean", *(item.name for item in predicted_classes(records)))
    for name in ("round", "version", "labels", *judged, "gain", "gate"):
        table.add_column(name, justify="right")
    for stage in records[0].seconds:
        table.add_column(f"{stage}, s", justify="right")
    for record in records:
        gain = record.gain.get("validation", {}).get("mean")
        table.add_row(
            f"{record.round} {record.strategy}",
            str(record.version),
            str(record.labels),
            *(_figure(record.iou["test"][name]) for name in judged),
            "–" if gain is None else f"{gain:+.3f}",
            "promoted" if record.promoted else "kept",
            *(f"{took:.1f}" for took in record.seconds.values()),
        )
    console().print(table)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
