"""What the commands ``simulate`` and ``experiment`` share: the catalog of their scenes, and where their results are."""

from collections.abc import Iterator
from contextlib import contextmanager

from catalog.context import Catalog
from catalog.settings import Settings
from cli.installation import installed_catalog
from cli.output import tell
from experiments.outcome import Outcome, deliver
from services.experiment_options import ExperimentOptions, SimulationOptions


@contextmanager
def catalog_for(options: SimulationOptions | ExperimentOptions) -> Iterator[Catalog | None]:
    """Open the catalog that holds the scenes; an example needs none."""
    if options.example:
        yield None
        return
    with installed_catalog() as catalog:
        yield catalog


def write_results(outcome: Outcome, settings: Settings) -> None:
    """Write results to files and to MLflow, and print where."""
    done = deliver(outcome, settings)
    shown = "\n".join(map(str, done.files))
    is_file = done.mlflow.startswith("sqlite")
    hint = f" (see it with `mlflow ui --backend-store-uri {done.mlflow}`)" if is_file else ""
    tell(f"{shown}\nMLflow run in {done.mlflow}{hint}", files=list(done.files), mlflow=done.mlflow)
