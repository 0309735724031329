"""What can go wrong with what the system knows. ``al_server.problems`` says which HTTP status each means."""

import re


class CatalogError(Exception):
    """Base of the errors below."""


class NotFoundError(CatalogError):
    """Nothing is stored under that name or number."""


class ConflictError(CatalogError):
    """The request is understood, but the present state does not allow it; the message says what to do."""


class ServiceDownError(CatalogError):
    """A service around us does not answer. Nothing is lost: the work is tried again."""

    def __init__(self, service: str, address: str, detail: str) -> None:
        shown = re.sub(r"//[^/@]*@", "//", address)  # an address may carry a password
        super().__init__(f"{service} does not answer at {shown}: {detail}. Check that it runs; nothing is lost.")
        self.service = service


class RegistryError(CatalogError):
    """MLflow answered that a request of ours is wrong; waiting will not help."""


class JobCancelledError(CatalogError):
    """Someone asked for this job to be cancelled; it must not go on."""


class JobInterruptedError(CatalogError):
    """The worker of this job is being stopped; the job goes on later, from the start or from a checkpoint."""


class JobLostError(CatalogError):
    """This job was given to another worker because its heartbeat had stopped; it must not go on."""
