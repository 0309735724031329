"""Errors of the catalog and the services. ``al_server.problems`` maps each of them to an HTTP status."""

import re


class CatalogError(Exception):
    """Base class of the errors below."""


class NotFoundError(CatalogError):
    """There is no row, version or file with that name or number."""


class ConflictError(CatalogError):
    """The current state does not allow the request; the message says what to do."""


class DecisionUnderwayError(ConflictError):
    """Another decision about the served version is being carried out; this one can be tried again in a moment."""


class InvalidInputError(CatalogError):
    """A person gave something that does not fit; the message says what was found and what is expected."""


class AccessRefusedError(CatalogError):
    """A token, a password or a log-in is not good; the message does not tell strangers why a password is not."""


class TooManyAttemptsError(CatalogError):
    """Too many attempts to log in have failed lately."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"too many attempts to log in have failed; try again in {max(1, round(wait_s / 60))} min")
        self.wait_s = wait_s


class QueueFullError(CatalogError):
    """As much is being computed as may be at once; it can be asked for again later."""


class NoSpaceError(CatalogError):
    """The disk is too full for what somebody sends, or cannot be written."""


class BackupError(CatalogError):
    """A backup cannot be made, read or loaded."""


class ServiceDownError(CatalogError):
    """Redis, MLflow or Label Studio does not answer. Jobs that raise it are retried until the service is back."""

    def __init__(self, service: str, address: str, detail: str) -> None:
        shown = re.sub(r"//[^/@]*@", "//", address)  # an address may carry a password
        super().__init__(f"{service} does not answer at {shown}: {detail}. Check that it runs; nothing is lost.")
        self.service = service


class SetAsideError(CatalogError):
    """Every scene, or every label, that a job needs is set aside. It is tried again until one is back."""


class RegistryError(CatalogError):
    """MLflow refused a request as invalid; a retry would be refused, too."""


class JobCancelledError(CatalogError):
    """A person cancelled this job; it must stop."""


class JobInterruptedError(CatalogError):
    """The worker of this job is shutting down; the job runs again later, from the start or from a checkpoint."""


class JobGivesWayError(CatalogError):
    """This job lets others go first; it runs again after them, and goes on from what it has stored."""


class JobLostError(CatalogError):
    """This job was given to another worker because its heartbeat had stopped; this attempt must stop."""


class LabelsWithdrawnError(CatalogError):
    """Labels that a training learns from have been withdrawn meanwhile; it must begin anew without them."""
