"""Responses 202: something was asked for and is not done yet; the header ``Location`` says where to ask for it."""

from flask import Response, url_for
from pydantic import BaseModel

from al_server.context import json_response
from al_server.job_schemas import JobAnswer


def accepted(body: BaseModel, address: str) -> Response:
    """Answer that something was asked for, and at which address to ask how it is."""
    response = json_response(body, 202)
    response.headers["Location"] = address
    return response


def accepted_job(job: JobAnswer) -> Response:
    """Answer that a job was asked for."""
    return accepted(job, url_for("jobs.get_job", job_id=job.id))


def being_made(body: BaseModel, address: str) -> Response:
    """Answer that something is being made, and at which address to ask for it again in some seconds."""
    response = accepted(body, address)
    response.headers["Retry-After"] = "5"
    return response
