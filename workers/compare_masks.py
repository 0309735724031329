"""Job: compare the masks by which the quality of labels is told, as far as that was not done yet.

The clock enqueues it at intervals whatever labels came: a job after the label of a check would name the check, because
all users may list the jobs.
"""

import logging

from services import compared_labels
from workers.jobs import JobContext

log = logging.getLogger(__name__)


def compare_masks(context: JobContext) -> None:
    """Compare what labels are to be compared with. Idempotent; a mask that cannot be read is left out and logged."""
    left_out = compared_labels.compare_labels(context.catalog)
    if left_out:
        log.warning("%d comparisons of masks are left out until their files are mended", left_out)
