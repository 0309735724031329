"""``glacier-al demo``: run the whole loop on a real scene, with real services and a simulated annotator."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from catalog.context import Catalog
from catalog.settings import Settings
from cli.demo_rounds import Demonstration
from cli.demo_table import print_levers, print_rounds
from cli.levers import train_comparisons
from cli.report import write_report
from cli.running import running_settings
from cli.server import POLL_S

ROUND_SIZE: Final = 8
START_TIMEOUT_S: Final = 300.0
STOP_TIMEOUT_S: Final = 60.0
# A small network for a small scene: 64 px patches of 30 m; see docs/benchmarks.md for how these were chosen.
DEMO_SETTINGS = {
    "unet_depth": "3",
    "unet_width": "16",
    "fine_tune_steps": "150",
    "fine_tune_after_labels": str(ROUND_SIZE),
    "round_size": str(ROUND_SIZE),
    "round_strategy": "class_power_entropy",
    "control_share": "0.25",
    "pool_control_share": "0.5",
}


def run_demo(rounds: int, seed: int) -> None:
    """Run the loop for a number of rounds, print the tables, and write ``report.json`` and ``report.html``.

    Args:
        rounds: How many.
        seed: Of all random numbers, those of the old outlines, the rounds and the trainings among them.

    Raises:
        ClickException: a part failed; its message says which.
    """
    folder = Settings().var_dir / "demo"
    system = folder / "system"
    shutil.rmtree(system, ignore_errors=True)  # every demonstration starts from an empty folder
    system.mkdir(parents=True)
    os.environ["GLACIER_AL_VAR_DIR"] = str(system)
    for name, value in {**DEMO_SETTINGS, "training_seed": str(1000 * seed)}.items():
        os.environ.setdefault(f"GLACIER_AL_{name}".upper(), value)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # raises SystemExit, so that the system is stopped
    started = time.monotonic()
    with running_system(folder / "up.log"):
        catalog = Catalog(running_settings())
        try:
            demonstration = Demonstration(catalog, seed)
            records = demonstration.run(rounds)
            seconds = time.monotonic() - started
            print_rounds(records, seconds)
            comparisons = train_comparisons(catalog, demonstration.truth, seed)
            report, levers = write_report(folder, catalog, records, seconds, comparisons)
            print_levers(levers)
        finally:
            catalog.close()
    click.echo(f"The report with pictures is {report}")


@contextmanager
def running_system(log: Path) -> Iterator[None]:
    """Run ``glacier-al up`` on the data folder during the block; ``log`` gets what it says."""
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
