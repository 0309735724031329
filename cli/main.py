"""``glacier-al``: the command-line program."""

from typing import Any

import click

from catalog.errors import CatalogError
from catalog.secrets import SecretsError
from catalog.settings import Settings
from catalog.settings_sources import SettingsError
from cli.errors import StartError
from cli.output import write_any_text
from imagery.errors import ExportError, OutlineError, SceneError, StoreError


class Program(click.Group):
    """A group that imports a command only when it is called, and shows errors that users can fix as one line."""

    COMMANDS = {  # noqa: RUF012 - read only
        "backup": "cli.backup_commands:backup",
        "change": "cli.change_command:change",
        "completion": "cli.completion_command:completion",
        "doctor": "cli.doctor_command:doctor",
        "config": "cli.config_commands:config",
        "events": "cli.event_commands:events",
        "export": "cli.export_commands:export",
        "experiment": "cli.experiment_commands:experiment",
        "init": "cli.config_commands:init",
        "restore": "cli.backup_commands:restore",
        "status": "cli.status_command:status",
        "scene": "cli.scene_commands:scene",
        "simulate": "cli.simulate_command:simulate",
        "jobs": "cli.job_commands:jobs",
        "round": "cli.loop_commands:round_group",
        "train": "cli.loop_commands:train",
        "models": "cli.model_commands:models",
        "user": "cli.access_commands:user",
        "token": "cli.access_commands:token",
        "quality": "cli.quality_commands:quality",
        "labels": "cli.label_commands:labels",
        "reproduce": "cli.reproduce_command:reproduce",
    }

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program, with an output that accepts text in any script."""
        write_any_text()
        return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted([*super().list_commands(ctx), *self.COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, importing its module."""
        if cmd_name not in self.COMMANDS:
            return super().get_command(ctx, cmd_name)
        from pkgutil import resolve_name

        command: click.Command = resolve_name(self.COMMANDS[cmd_name])
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; convert errors that users can fix to StartError."""
        try:
            return super().invoke(ctx)
        except (CatalogError, SettingsError, SecretsError, SceneError, OutlineError, StoreError, ExportError) as error:
            raise StartError(str(error)) from error
        except PermissionError as error:
            raise StartError(f"no permission: {error.filename}") from error


@click.group(cls=Program)
@click.version_option(package_name="glacier-al")
def main() -> None:
    """Active learning for mapping glaciers: choose patches, learn from expert labels, measure the gain."""


@main.command()
def up() -> None:
    """Start everything and keep it running until Ctrl-C."""
    from cli.closing import write_for_owner_only
    from cli.processes import up as run_up
    from services.strategies import check_settings

    settings = Settings()
    check_settings(settings)
    write_for_owner_only()
    run_up(settings)


@main.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(4), help="rounds to run")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 10**6), help="seed of all that is random")
def demo(rounds: int, seed: int) -> None:
    """Run the loop on the Everest scene with a simulated annotator, and write a report."""
    from cli.closing import write_for_owner_only
    from workers.main import prepare_threads

    write_for_owner_only()
    prepare_threads(Settings())  # the next import loads torch
    from cli.demo import run_demo

    run_demo(rounds, seed)


if __name__ == "__main__":
    main()
