"""Run one experiment from the command line, with a progress display."""

from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.experiment_output import catalog_for, write_results
from cli.output import progress_console
from cli.running import local_settings
from experiments.experiment_run import areas_of, run_study
from services.experiment_options import ExperimentOptions


def run_experiment(options: ExperimentOptions) -> None:
    """Run an experiment, write its files, and print their paths."""
    settings = local_settings()
    with catalog_for(options) as catalog, _ProgressDisplay() as progress:
        areas = areas_of(options, settings, catalog)
        outcome = run_study(options, areas, settings, progress, catalog)
    write_results(outcome, settings)


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
        self._bars.update(self._trials, total=(self._bars.tasks[self._trials].total or 0) + trials)

    def start(self, name: str) -> None:
        self._bars.reset(self._steps, description=name, total=None)

    def step(self, done: int, steps: int) -> None:
        self._bars.update(self._steps, completed=done, total=steps)

    def end(self, name: str, known: bool) -> None:
        self._bars.advance(self._trials)
        took = self._bars.tasks[self._steps].elapsed or 0.0
        self._console.print(f"{name}: " + ("known from before" if known else f"{took:.1f} s"), highlight=False)
