"""``glacier-al round`` and ``glacier-al train``: open or abandon a round, and start a fine-tune."""

import click

from catalog import training
from catalog.settings import PatchPart, Strategy
from cli.installation import running_catalog
from services import rounds


@click.group("round", invoke_without_command=True)
@click.option(
    "--strategy",
    type=click.Choice([item.value for item in Strategy]),
    help="how to choose patches; default: the setting round_strategy",
)
@click.option(
    "--part",
    type=click.Choice([item.value for item in PatchPart]),
    help="what to ask for of each patch; default: the setting round_part",
)
@click.option("--size", type=click.IntRange(1), help="number of patches; default: the setting round_size")
@click.option("--seed", type=click.IntRange(0), help="seed of the random choices")
@click.option(
    "--second-look",
    "second_looks",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="let N of the patches be labelled ones that the newest version contradicts",
)
@click.pass_context
def round_group(
    context: click.Context,
    strategy: str | None,
    part: str | None,
    size: int | None,
    seed: int | None,
    second_looks: int,
) -> None:
    """Open a round: choose patches and publish them in Label Studio; with a subcommand, abandon a round."""
    if context.invoked_subcommand is not None:
        return
    with running_catalog() as catalog:
        settings = catalog.settings
        with catalog.write() as session:
            how = Strategy(strategy) if strategy else settings.round_strategy
            what = PatchPart(part) if part else settings.round_part
            opened = rounds.open_round(session, settings, how, size or settings.round_size, seed, what, second_looks)
        click.echo(f"Round {opened.id} ({opened.strategy}, {opened.size} patches) is being chosen and published.")


@round_group.command()
@click.argument("number", type=int)
def abandon(number: int) -> None:
    """End the round NUMBER early. Its labels stay; its unanswered patches may be proposed again."""
    with running_catalog() as catalog:
        with catalog.write() as session:
            rounds.abandon(session, number)
        click.echo(f"Round {number} is abandoned; tasks that nobody has begun are removed from Label Studio.")


@click.command()
def train() -> None:
    """Fine-tune on all labels now, without waiting for more."""
    with running_catalog() as catalog:
        with catalog.write() as session:
            job = training.enqueue_by_hand(session)
        click.echo(f"Fine-tuning begins: job {job.id}")
