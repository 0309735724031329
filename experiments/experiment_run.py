"""One experiment from its options to its findings; the command line and the job show its progress differently."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from pkgutil import resolve_name

from catalog.context import Catalog
from catalog.settings import Settings
from experiments.areas import StudyArea, check_areas, example_area, registered_areas
from experiments.findings import Findings
from experiments.outcome import Outcome, home
from experiments.study import Choices, Progress, open_study
from models.inference import pick_device
from services.experiment_options import ExperimentOptions
from workers.code_version import code_version


def areas_of(options: ExperimentOptions, settings: Settings, catalog: Catalog | None) -> list[StudyArea]:
    """Return the study areas of an experiment.

    Args:
        options: What is asked for (`services.experiment_options.check_options`).
        settings: The settings.
        catalog: The catalog that holds the scenes; None for an example.

    Raises:
        ConflictError: A scene cannot be used (`services.study_scenes.study_scenes`).
        SceneError: The example is not installed.
    """
    if options.example:
        return [example_area(options.example, home(settings) / "examples")]
    if catalog is None:
        raise ValueError("found neither an example nor a catalog; expected one of them")
    return registered_areas(catalog, options.scenes)


def run_study(
    options: ExperimentOptions,
    areas: Sequence[StudyArea],
    settings: Settings,
    progress: Progress,
    catalog: Catalog | None,
) -> Outcome:
    """Make an experiment: compute the trials that are not stored yet, and return what all of them say.

    Args:
        options: What is asked for.
        areas: The study areas.
        settings: The settings, with the device.
        progress: Receives the progress.
        catalog: As for `areas_of`.

    Raises:
        ConflictError: A scene was replaced or removed meanwhile; what was finished before is kept.
    """
    choices = Choices(
        options.architecture,
        options.depth,
        options.width,
        options.steps,
        options.seeds,
        options.patch_size,
        options.split,
    )
    folder = home(settings)
    device = pick_device(settings.device)
    run = resolve_name(f"experiments.{options.name.replace('-', '_')}:run")
    with open_study(areas, choices, folder / "trials", device, progress, partial(check_areas, catalog, areas)) as study:
        findings: Findings = run(study)
    parameters = asdict(choices) | {
        "areas": ", ".join(area.name for area in areas),
        "device": device.type,
        "version": code_version(),
    }
    return Outcome(findings, _conditions(findings, areas, choices), parameters, _folder(folder, areas, choices))


def _folder(home_folder: Path, areas: Sequence[StudyArea], choices: Choices) -> Path:
    """Return the folder of the results, one for each set of study areas and options."""
    identity = json.dumps([[area.source.to_json() for area in areas], asdict(choices)])
    name = areas[0].name if len(areas) == 1 else f"{len(areas)}-scenes"
    return home_folder / "results" / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


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
