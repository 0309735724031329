"""The options of the commands ``simulate`` and ``experiment``, from their models; nothing here loads torch."""

from collections.abc import Callable
from typing import Any

import click
from pydantic import BaseModel

from catalog.errors import InvalidInputError
from catalog.settings import Settings
from services.experiment_options import ExperimentOptions, SimulationOptions, bounds, check_options

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def number_option(options: type[BaseModel], name: str) -> Decorator:
    """Return the option of the command line for a number, as a model of options describes it."""
    field = options.model_fields[name]
    return click.option(
        f"--{name.replace('_', '-')}",
        type=click.IntRange(*bounds(options, name)),
        default=field.default,
        show_default=field.default is not None,
        help=field.description,
    )


def checked(options: type[Any], given: dict[str, object], settings: Settings) -> Any:
    """Return the options of a command; options that contradict each other are a usage error."""
    found: SimulationOptions | ExperimentOptions = options.model_validate(given)
    try:
        check_options(found, settings)
    except InvalidInputError as error:
        raise click.UsageError(str(error)) from error
    return found
