"""Run one simulation from the command line, with a progress display."""

import time

from cli.experiment_output import catalog_for, write_results
from cli.output import remark
from cli.progress import progress
from cli.running import local_settings
from experiments.simulation import estimate_seconds
from experiments.simulation_run import SimulationRun, simulation_of
from services.experiment_options import SimulationOptions


def run_simulation(options: SimulationOptions, processes: int) -> int:
    """Run a simulation, write its files, and print their paths.

    Args:
        options: What is simulated.
        processes: Most processes at once.

    Returns:
        How many processes failed; without a failure, 0.
    """
    settings = local_settings()
    with catalog_for(options) as catalog:
        run = simulation_of(options, settings, catalog)
    if failed := _compute(run, processes):
        return failed
    write_results(run.outcome(settings), settings)
    return 0


def _compute(run: SimulationRun, processes: int) -> int:
    """Compute what is missing, showing how far that is; return how many processes failed."""
    simulation, wanted = run.simulation, run.wanted
    units, known = simulation.missing(processes), len(simulation.cells())
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
