"""One simulation from its options to its findings; the command line and the job show its progress differently."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from catalog.context import Catalog
from catalog.settings import Settings
from experiments.areas import StudyArea
from experiments.learner import LoopConfig
from experiments.outcome import Outcome, home
from experiments.simulation import Simulation
from experiments.simulation_findings import findings_of
from experiments.simulation_regions import example_region, registered_region
from services.experiment_options import SimulationOptions, strategies_of
from services.strategies import resolve
from workers.code_version import code_version


@dataclass(frozen=True)
class SimulationRun:
    """A simulation with the study areas of its region."""

    simulation: Simulation
    areas: Sequence[StudyArea]

    @property
    def wanted(self) -> int:
        """How many runs of the loop it takes."""
        return len(self.simulation.names) * self.simulation.seeds

    def outcome(self, settings: Settings) -> Outcome:
        """Return what all runs of the loop say; each must be stored."""
        simulation = self.simulation
        parameters = asdict(simulation.config) | {
            "areas": ", ".join(area.name for area in self.areas),
            "strategies": ", ".join(simulation.strategies),
            "seeds": simulation.seeds,
            "patch_size_px": simulation.region.patch_px,
            "version": code_version(),
        }
        about = [simulation.region.digest(), asdict(simulation.config), simulation.strategies, simulation.seeds]
        identity = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:8]
        return Outcome(
            findings=findings_of(simulation, simulation.cells()),
            conditions=self._conditions(),
            parameters=parameters,
            folder=home(settings) / "results" / f"{simulation.region.name}-{identity}",
        )

    def _conditions(self) -> list[str]:
        """Return lines about the region, the loop and the networks behind the findings."""
        region, config = self.simulation.region, self.simulation.config
        patches = ", ".join(f"{len(region.masks(part))} for {part}" for part in region.parts)
        strips = ", cut into strips" if len(self.areas) == 1 else ""
        return [
            f"Ground: {', '.join(area.name for area in self.areas)}{strips}; patches of {region.patch_px} px: "
            f"{patches}.",
            f"Loop: {config.rounds} rounds of {config.round_size}, each with {config.steps} training steps that go on "
            "from the version before; the gate decides what is served; no controls.",
            f"Networks: a small U-Net (depth {config.depth}, width {config.width}) with the channels "
            f"{', '.join(region.channels)}; {config.passes} passes of Monte Carlo dropout. The network of the settings "
            "may be larger, and then reaches other figures; what is compared here are strategies.",
            *dict.fromkeys(area.caution for area in self.areas if area.caution),
        ]


def simulation_of(options: SimulationOptions, settings: Settings, catalog: Catalog | None) -> SimulationRun:
    """Read the ground of a simulation.

    Args:
        options: What is asked for (`services.experiment_options.check_options`).
        settings: The settings, with the random rounds and the configured strategy.
        catalog: The catalog that holds the scenes; None for an example.

    Raises:
        ConflictError: A scene cannot be used, or the pool has too few patches.
        SceneError: A scene cannot be read, or does not fit.
    """
    folder = home(settings)
    if options.example:
        region, areas = example_region(options.example, folder / "examples", options.patch_size)
    elif catalog is None:
        raise ValueError("found neither an example nor a catalog; expected one of them")
    else:
        region, areas = registered_region(catalog, options.scenes, options.patch_size)
    asked = strategies_of(options, settings)
    start_rounds = settings.random_start_rounds
    # A name such as the recipe stands for what follows the random rounds, which all strategies share here.
    names = tuple(dict.fromkeys(resolve(name, start_rounds, settings).name for name in asked))
    config = LoopConfig(
        options.round_size, start_rounds, options.rounds - start_rounds, options.steps, annotator=options.annotator
    )
    simulation = Simulation(region, names, options.seeds, config, folder / "simulations")
    simulation.check()
    return SimulationRun(simulation, areas)
