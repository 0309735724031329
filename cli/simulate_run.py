"""Run one simulation from the command line: its region, its progress display, its files."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from cli.experiment_run import deliver
from cli.installation import installed_catalog
from cli.output import remark
from cli.progress import progress
from cli.running import local_settings
from experiments.areas import Example, StudyArea
from experiments.learner import LoopConfig
from experiments.region import Region
from experiments.simulation import Simulation, estimate_seconds
from experiments.simulation_findings import findings_of
from experiments.simulation_regions import example_region, registered_region
from services.strategies import resolve
from workers.code_version import code_version


def run_simulation(
    scenes: Sequence[str],
    example: Example | None,
    strategies: Sequence[str],
    seeds: int,
    config: LoopConfig,
    patch_px: int,
    processes: int,
) -> int:
    """Run a simulation, write its files, and print their paths.

    Args:
        scenes: Names of registered scenes; empty for all that have outlines.
        example: Example scene to use instead.
        strategies: Names of the strategies; empty for the configured one, ice-first random and random.
        seeds: Number of seeds.
        config: Size of the loop.
        patch_px: Side of the patches.
        processes: Most processes at once.

    Returns:
        How many processes failed; without a failure, 0.
    """
    settings = local_settings()
    folder = settings.var_dir / "experiments"
    region, areas = _region(scenes, example, patch_px, folder / "examples")
    asked = strategies or (settings.round_strategy.value, "foreground_random", "random")
    # A name such as the recipe stands for what follows the random rounds, which all strategies share here.
    names = tuple(dict.fromkeys(resolve(name, config.start_rounds, settings).name for name in asked))
    simulation = Simulation(region, names, seeds, config, folder / "simulations")
    simulation.check()
    if failed := _compute(simulation, processes):
        return failed
    findings = findings_of(simulation, simulation.cells())
    parameters = asdict(config) | {
        "areas": ", ".join(area.name for area in areas),
        "strategies": ", ".join(names),
        "seeds": seeds,
        "patch_size_px": patch_px,
        "version": code_version(),
    }
    target = _target(folder, simulation)
    deliver(findings, target, _conditions(simulation, areas), parameters, settings, folder)
    return 0


def _region(
    scenes: Sequence[str], example: Example | None, patch_px: int, folder: Path
) -> tuple[Region, list[StudyArea]]:
    if example:
        return example_region(example, folder, patch_px)
    with installed_catalog() as catalog:
        return registered_region(catalog, scenes, patch_px)


def _compute(simulation: Simulation, processes: int) -> int:
    """Compute what is missing, showing how far that is; return how many processes failed."""
    units = simulation.missing(processes)
    wanted, known = len(simulation.names) * simulation.seeds, len(simulation.cells())
    remark(f"{wanted} runs of the loop, {known} known from before")
    if not units:
        return 0
    minutes = max(1, round(estimate_seconds(simulation, units, processes) / 60))
    count = min(processes, len(units))
    at_once = f"{count} process{'es' if count > 1 else ''}"
    remark(f"the others take about {minutes} min in {at_once}, if the cores are free")
    begun = time.monotonic()
    with progress("runs of the loop") as told:

        def tell_of(done: int) -> None:
            new = done - known
            took_s = time.monotonic() - begun
            told(done / wanted, took_s / new * (wanted - done) if new else 60.0 * minutes)

        failed = simulation.run(units, processes, tell_of)
    return len(failed)


def _target(folder: Path, simulation: Simulation) -> Path:
    """Return the folder of the results, one for each region, loop and choice of strategies."""
    about = [simulation.region.digest(), asdict(simulation.config), simulation.strategies, simulation.seeds]
    identity = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:8]
    return folder / "results" / f"{simulation.region.name}-{identity}"


def _conditions(simulation: Simulation, areas: Sequence[StudyArea]) -> list[str]:
    """Return lines about the region, the loop and the networks behind the findings."""
    region, config = simulation.region, simulation.config
    patches = ", ".join(f"{len(region.masks(part))} for {part}" for part in region.parts)
    strips = ", cut into strips" if len(areas) == 1 else ""
    return [
        f"Ground: {', '.join(area.name for area in areas)}{strips}; patches of {region.patch_px} px: {patches}.",
        f"Loop: {config.rounds} rounds of {config.round_size}, each with {config.steps} training steps that go on from "
        "the version before; the gate decides what is served; no controls.",
        f"Networks: a small U-Net (depth {config.depth}, width {config.width}) with the channels "
        f"{', '.join(region.channels)}; {config.passes} passes of Monte Carlo dropout. The network of the settings may "
        "be larger, and then reaches other figures; what is compared here are strategies.",
        *dict.fromkeys(area.caution for area in areas if area.caution),
    ]
