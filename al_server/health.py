"""Liveness and readiness."""

import logging

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError

from al_server.auth import identity_or_none
from al_server.context import current_catalog, json_response
from services.free_disk import disk_fault
from services.part_checks import part_faults

log = logging.getLogger(__name__)

api = APIBlueprint("health", __name__, abp_tags=[Tag(name="health")])


class Alive(BaseModel):
    """The server runs."""

    alive: bool


class Readiness(BaseModel):
    """Whether all parts are ready."""

    ready: bool
    parts: dict[str, str] | None = Field(
        description="state of each part: `ok`, or what is wrong; null without a token or log-in"
    )


@api.get("/healthz", responses={200: Alive})
def healthz() -> Response:
    """Tell that the server runs."""
    return json_response(Alive(alive=True))


@api.get("/readyz", responses={200: Readiness, 503: Readiness})
def readyz() -> Response:
    """Tell the state of database, disk, queue and workers, clock, MLflow and Label Studio; 503 unless all are ready.

    The clock checks all but the first two every few seconds; this waits for none of them. Strangers are told yes or no;
    who may read is told the state of each part, with addresses.
    """
    faults = {"database": None, "disk": disk_fault(current_catalog().settings)}
    try:
        with current_catalog().read() as session:
            faults |= part_faults(session)
    except SQLAlchemyError:
        log.exception("the database is not ready")
        faults["database"] = "does not answer; see the log of the server"  # the error may hold SQL
    ready = not any(faults.values())
    parts = {name: fault or "ok" for name, fault in faults.items()} if identity_or_none() is not None else None
    return json_response(Readiness(ready=ready, parts=parts), 200 if ready else 503)
