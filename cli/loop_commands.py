"""``glacier-al round`` and ``glacier-al train``: open or abandon a round, and start a fine-tune."""

import time

import click

from catalog import training
from catalog.settings import PatchPart, Strategy
from cli.errors import StartError
from cli.installation import running_catalog
from cli.job_commands import follow
from cli.output import json_option, remark, tell
from cli.progress import job_progress
from cli.server import POLL_S, connected
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
    metavar="N",
    help="let N of the patches be labelled ones that the newest version contradicts; default: the setting "
    "second_look_share",
)
@click.option("--wait", is_flag=True, help="until it is chosen and published, showing how far that is")
@json_option
@click.pass_context
def round_group(
    context: click.Context,
    strategy: str | None,
    part: str | None,
    size: int | None,
    seed: int | None,
    second_looks: int | None,
    *,
    wait: bool,
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
            values = {"id": opened.id, "strategy": str(opened.strategy), "size": opened.size, "seed": opened.seed}
        if wait:
            _wait_until_open(opened.id)
        done = "is open" if wait else "is being chosen and published"
        state = "open" if wait else "choosing"
        tell(f"Round {opened.id} ({opened.strategy}, {opened.size} patches) {done}.", **values, state=state)


@round_group.command()
@click.argument("number", type=int)
@json_option
def abandon(number: int) -> None:
    """End the round NUMBER early. Its labels stay; its unanswered patches may be proposed again."""
    with running_catalog() as catalog:
        with catalog.write() as session:
            rounds.abandon(session, number)
        text = f"Round {number} is abandoned; tasks that nobody has begun are removed from Label Studio."
        tell(text, id=number, state="abandoned")


@click.command()
@click.option("--wait", is_flag=True, help="until the fine-tune has ended, showing how far it is")
@json_option
def train(*, wait: bool) -> None:
    """Fine-tune on all labels now, without waiting for more."""
    with running_catalog() as catalog, catalog.write() as session:
        job = training.enqueue_by_hand(session)
    text = f"Fine-tuning begins: job {job.id}"
    if not wait:
        tell(text, id=job.id, kind=job.kind.value, state=job.state.value)
        return
    remark(text)
    ended = follow(job.id)
    tell("The fine-tune is finished: see `glacier-al models`.", id=ended.id, kind=ended.kind, state=ended.state)


def _wait_until_open(number: int) -> None:
    """Wait until a round is open, showing how far the work on it is.

    Raises:
        ClickException: It could not be chosen or published.
    """
    with connected(role="reader") as server, job_progress(f"round {number}") as told:
        while (found := server.round(number)).state in {"choosing", "publishing"}:
            for job in server.jobs("running"):
                if job.subject.get("round_id") == number:
                    told(job)
            time.sleep(POLL_S)
    if found.state != "open":
        raise StartError(f"round {number} is {found.state}: {found.error or 'see glacier-al jobs'}")
