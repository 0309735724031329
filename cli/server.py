"""The API of the running system, for commands: with the address and the token of the data folder, or others."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final, Literal, TypeVar

import click

from catalog.secrets import load_or_create
from cli.errors import NotAllowedError, NotRunningError, StartError, StillWorkingError
from cli.running import running_settings
from glacier_al_client.client import Client
from glacier_al_client.errors import ClientError, ProblemError, TimedOutError, TokenError, UnreachableError
from glacier_al_client.types import JobKind

POLL_S: Final = 0.3
Found = TypeVar("Found")


@contextmanager
def connected(
    url: str | None = None, token: str | None = None, role: Literal["reader", "operator"] = "operator"
) -> Iterator[Client]:
    """Open the API during the block; end the command with one message if it refuses or does not answer.

    Args:
        url: Address; by default that of the system that runs on the data folder.
        token: By default one of the data folder, which is sent nowhere else.
        role: The role of that token.

    Raises:
        NotRunningError: No system runs there, or it does not answer.
        NotAllowedError: The token is not good for what was asked.
        UsageError: An address without a token.
    """
    if url is None:
        settings = running_settings()
        url = settings.api_url
        token = token or getattr(load_or_create(settings.secrets_file), f"{role}_token")
    elif token is None:
        raise click.UsageError(f"found the address {url} without a token, expected one in --token or GLACIER_AL_TOKEN")
    with as_command_errors(), Client(url, token) as client:
        yield client


@contextmanager
def as_command_errors() -> Iterator[None]:
    """Turn errors of the client into errors of commands, which have an exit code."""
    try:
        yield
    except UnreachableError as error:
        raise NotRunningError(str(error)) from error
    except TimedOutError as error:
        raise StillWorkingError(str(error)) from error
    except TokenError as error:
        raise NotAllowedError(str(error)) from error
    except ProblemError as error:
        if error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise NotAllowedError(error.detail) from error
        raise StartError(error.detail) from error
    except ClientError as error:
        raise StartError(str(error)) from error


def wait_until(client: Client, what: str, done: Callable[[], Found], timeout_s: float = 300.0) -> Found:
    """Call ``done`` until it returns something true; return that.

    Args:
        client: The API.
        what: What is waited for, for error messages.
        done: The function to call.
        timeout_s: Time limit in seconds.

    Raises:
        ClickException: A job failed meanwhile, or the time limit is over.
    """
    begun = time.monotonic()
    while time.monotonic() - begun < timeout_s:
        found = done()
        if found:
            return found
        for job in client.jobs("failed", limit=1):
            raise click.ClickException(f"while waiting for {what}, the job {job.kind} failed: {job.error}")
        time.sleep(POLL_S)
    raise StillWorkingError(f"{what} did not happen within {timeout_s:.0f} s")


def wait_for_jobs(client: Client, what: str, *kinds: JobKind) -> None:
    """Wait until no job of these kinds is open."""

    def none_open() -> bool:
        newest = client.jobs(limit=1000)  # in one request, because a job may enqueue another when it ends
        return not any(job.kind in kinds and job.state in {"queued", "running"} for job in newest)

    wait_until(client, what, none_open)
