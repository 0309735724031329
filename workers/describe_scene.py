"""Job: describe a scene whose files lie on another machine, and register it if that was asked for."""

from services.remote_scenes import carry_out
from workers.jobs import JobContext


def describe_scene(context: JobContext, scene_request_id: int) -> None:
    """Carry out a request; whether it was refused stands in the request, and is no failure of the job."""
    context.progress(0, 1, "reading from another machine")
    carry_out(context.catalog, scene_request_id)
