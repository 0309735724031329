"""Run one experiment from the command line: its study areas, its progress display, its files."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from pkgutil import resolve_name
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from catalog.settings import Settings
from cli.installation import installed_catalog
from cli.output import progress_console, tell
from cli.running import local_settings
from experiments.areas import Example, StudyArea, example_area, registered_areas
from experiments.findings import Findings, write
from experiments.record import record
from experiments.study import Choices, open_study
from models.inference import pick_device
from workers.code_version import code_version


def run_experiment(name: str, scenes: Sequence[str], example: Example | None, choices: Choices) -> None:
    """Run an experiment, write its files, and print their paths.

    Args:
        name: Name of the experiment.
        scenes: Names of registered scenes; empty for all that have outlines.
        example: Example scene to use instead.
        choices: Options of all its networks.
    """
    settings = local_settings()
    folder = settings.var_dir / "experiments"
    areas = _areas(scenes, example, folder / "examples")
    target = _target(folder, areas, choices)
    device = pick_device(settings.device)
    run = resolve_name(f"experiments.{name.replace('-', '_')}:run")
    with _ProgressDisplay() as progress, open_study(areas, choices, folder / "trials", device, progress) as study:
        findings: Findings = run(study)
    parameters = asdict(choices) | {
        "areas": ", ".join(area.name for area in areas),
        "device": device.type,
        "version": code_version(),
    }
    deliver(findings, target, _conditions(findings, areas, choices), parameters, settings, folder)


def deliver(
    findings: Findings,
    target: Path,
    conditions: Sequence[str],
    parameters: Mapping[str, object],
    settings: Settings,
    folder: Path,
) -> None:
    """Write findings to files and to MLflow, and print where.

    Args:
        findings: The results.
        target: Folder of the files.
        conditions: How the results were made, a line each.
        parameters: Parameters of the MLflow run.
        settings: The settings, with the address of MLflow.
        folder: Gets a database file for MLflow if it does not answer at that address.
    """
    files = write(findings, target, conditions)
    tracked = record(findings, files, parameters, settings, folder)
    shown = "\n".join(map(str, files))
    hint = f" (see it with `mlflow ui --backend-store-uri {tracked}`)" if tracked.startswith("sqlite") else ""
    tell(f"{shown}\nMLflow run in {tracked}{hint}", files=list(files), mlflow=tracked)


def _areas(scenes: Sequence[str], example: Example | None, folder: Path) -> list[StudyArea]:
    if example:
        return [example_area(example, folder)]
    with installed_catalog() as catalog:
        return registered_areas(catalog, scenes)


def _target(folder: Path, areas: Sequence[StudyArea], choices: Choices) -> Path:
    """Make and return the folder of the results, one for each set of study areas and options."""
    identity = json.dumps([[area.source.to_json() for area in areas], asdict(choices)])
    name = areas[0].name if len(areas) == 1 else f"{len(areas)}-scenes"
    target = folder / "results" / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
    target.mkdir(parents=True, exist_ok=True)
    return target


def _conditions(findings: Findings, areas: Sequence[StudyArea], choices: Choices) -> list[str]:
    """Return lines about the study areas, the windows and the networks behind the findings."""
    named = {"depth": choices.depth, "width": choices.width}
    shape = "".join(f", {name} {value}" for name, value in named.items() if value is not None)
    kind = f"{choices.split} split" if set(findings.divisions) == {""} else "held-out thirds"
    windows = [
        f"Windows{f', {name}' if name else ''}: "
        + ", ".join(f"{len(places)} for {part}" for part, places in division.named().items())
        for name, division in findings.divisions.items()
    ]
    return [
        f"Study area: {', '.join(area.name for area in areas)}, in windows of {choices.patch_size_px} px with glacier "
        f"in at least a tenth; {kind}.",
        *(f"{line}." for line in windows),
        f"Networks: architecture {choices.architecture}{shape}, {choices.steps} steps, {choices.seeds} seeds, rare "
        "classes not favoured.",
        *dict.fromkeys(area.caution for area in areas if area.caution),
    ]


class _ProgressDisplay:
    """Progress display: bars for the trials and the steps of the running trial, and a line per finished trial."""

    def __init__(self) -> None:
        self._console = progress_console()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._trials = self._bars.add_task("networks", total=None)
        self._steps = self._bars.add_task("", total=None)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, trials: int) -> None:
        self._bars.reset(self._trials, total=trials)

    def start(self, name: str) -> None:
        self._bars.reset(self._steps, description=name, total=None)

    def step(self, done: int, steps: int) -> None:
        self._bars.update(self._steps, completed=done, total=steps)

    def end(self, name: str, known: bool) -> None:
        self._bars.advance(self._trials)
        took = self._bars.tasks[self._steps].elapsed or 0.0
        self._console.print(f"{name}: " + ("known from before" if known else f"{took:.1f} s"), highlight=False)
