"""How much room is left on the disk of the data folder, and below what that is too little."""

import shutil
from typing import Final

from catalog.settings import Settings

DISK_LOW_BYTES: Final = 5 * 10**9
"""Below this much free space people are warned, and below a tenth nothing is stored any more: as the alerts have it."""
DISK_FULL_BYTES: Final = DISK_LOW_BYTES // 10


def free_bytes(settings: Settings) -> int:
    """Return the free space of the file system of the data folder."""
    return shutil.disk_usage(settings.var_dir).free


def disk_fault(settings: Settings) -> str | None:
    """Return what is wrong if the disk counts as full; None if it does not.

    Some small changes of the database may still fit, the next drawing may not.
    """
    free = free_bytes(settings)
    if free >= DISK_FULL_BYTES:
        return None
    return (
        f"found {free / 1e9:.1f} GB of free disk for the data folder; expected at least {DISK_FULL_BYTES / 1e9:.1f} "
        "GB: make room, or drawings can no longer be stored"
    )
