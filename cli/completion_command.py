"""``glacier-al completion``: the script with which a shell completes commands and options."""

import click
from click.shell_completion import get_completion_class

from cli.errors import StartError


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that lets SHELL complete commands and options; have your shell's start file evaluate it.

    For bash: eval "$(glacier-al completion bash)"
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise StartError(f"click knows no completion for {shell}")
    program = context.find_root()
    script = kind(program.command, {}, "glacier-al", "_GLACIER_AL_COMPLETE")
    click.echo(script.source())
