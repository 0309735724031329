"""One experiment from the command line: its ground, its progress for people, its files."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from pkgutil import resolve_name
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.installation import installed_catalog
from cli.running import running_settings
from experiments.areas import Example, StudyArea, example_area, registered_areas
from experiments.division import footprints
from experiments.findings import write
from experiments.record import record
from experiments.study import Choices, Study, open_study
from models.inference import pick_device


def run_experiment(name: str, scenes: Sequence[str], example: Example | None, choices: Choices) -> None:
    """Run an experiment, and say where its files are.

    Args:
        name: As on the command line.
        scenes: Names of registered scenes; none stands for all with outlines.
        example: The example to take in their place.
        choices: What all its networks have in common.
    """
    settings = running_settings()
    folder = settings.var_dir / "experiments"
    areas = _areas(scenes, example, folder / "scenes")
    run = resolve_name(f"experiments.{name.replace('-', '_')}:run")
    with (
        _Shown() as progress,
        open_study(areas, choices, folder / "cells", pick_device(settings.device), progress) as study,
    ):
        findings = run(study)
        conditions, windows = _conditions(study), footprints(study.division)
    target = folder / "-".join(area.name for area in areas)
    files = write(findings, target, conditions)
    for area, document in windows.items():
        (target / f"windows-{area}.geojson").write_bytes(document)
    parameters = asdict(choices) | {"areas": ", ".join(area.name for area in areas)}
    tracked = record(findings, files, parameters, settings, folder)
    click.echo("\n".join(map(str, files)))
    hint = f" (see it with `mlflow ui --backend-store-uri {tracked}`)" if tracked.startswith("sqlite") else ""
    click.echo(f"MLflow run in {tracked}{hint}")


def _areas(scenes: Sequence[str], example: Example | None, folder: Path) -> list[StudyArea]:
    if example:
        return [example_area(example, folder)]
    with installed_catalog() as catalog:
        return registered_areas(catalog, scenes)


def _conditions(study: Study) -> list[str]:
    choices = study.choices
    shape = ", ".join(f"{name} {value}" for name, value in _shape(choices).items())
    parts = ", ".join(f"{len(places)} for {part}" for part, places in study.division.named().items())
    return [
        f"Ground: {', '.join(area.name for area in study.areas)}; {parts} (windows of {choices.patch_size_px} px with "
        f"glacier in at least a tenth, {choices.split} split).",
        f"Networks: architecture {choices.architecture}{', ' if shape else ''}{shape}, {choices.steps} steps, "
        f"{choices.seeds} seeds.",
        "Values are means over the seeds ± their standard deviation, in brackets 95 % bootstrap intervals over the "
        "test windows, all of pooled counts.",
    ]


def _shape(choices: Choices) -> Mapping[str, int]:
    return {name: value for name, value in (("depth", choices.depth), ("width", choices.width)) if value is not None}


class _Shown:
    """Progress for people: a bar for the cells, one for the steps of the cell, and a line for each that is done."""

    def __init__(self) -> None:
        self._console = Console()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._cells = self._bars.add_task("networks", total=None)
        self._steps = self._bars.add_task("", total=None)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, cells: int) -> None:
        self._bars.reset(self._cells, total=cells)

    def start(self, name: str) -> None:
        self._bars.reset(self._steps, description=name, total=None)

    def step(self, done: int, steps: int) -> None:
        self._bars.update(self._steps, completed=done, total=steps)

    def end(self, name: str, known: bool) -> None:
        self._bars.advance(self._cells)
        took = self._bars.tasks[self._steps].elapsed or 0.0
        self._console.print(f"{name}: " + ("known from before" if known else f"{took:.1f} s"), highlight=False)
