"""The options of the commands ``simulate`` and ``experiment``, from their models; nothing here loads torch."""

from collections.abc import Callable
from typing import TypeVar

import click
from pydantic import BaseModel, ValidationError

from catalog.errors import InvalidInputError
from catalog.settings import Settings
from cli.errors import usage_error
from services.experiment_options import ExperimentOptions, SimulationOptions, bounds, check_options

Options = TypeVar("Options", SimulationOptions, ExperimentOptions)
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


def checked(options: type[Options], given: dict[str, object], settings: Settings) -> Options:
    """Return the options of a command.

    Raises:
        UsageError: An option is none, or options contradict each other or the settings.
    """
    try:
        found = options.model_validate(given)
        check_options(found, settings)
    except ValidationError as error:
        raise usage_error(error, "the options") from error
    except InvalidInputError as error:
        raise click.UsageError(str(error)) from error
    return found
