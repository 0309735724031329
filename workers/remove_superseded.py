"""Job: remove what superseded scorings left."""

from workers.jobs import Work


def remove_superseded(work: Work) -> None:
    """Remove scores, maps and views of scorings that nothing needs any more."""
    work.progress(1, 1, "nothing to remove")
