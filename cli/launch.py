"""``python -m cli.launch FILE NAME``: execute the program NAME that FILE describes; supervisord starts all this way.

supervisord cannot clear a program's environment, would show secrets in its configuration or the command line, and
cannot replace half-made databases. FILE holds the descriptions as JSON and is readable by its owner only.
"""

import fcntl
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.process_tree import adopt_orphans, end_with_parent
from cli.closing import write_for_owner_only
from cli.first_start import FirstStart

LOCK = "programs.lock"  # next to FILE; each program holds a shared lock on it while it runs


def main(file: Path, name: str) -> None:
    """Prepare this process, then replace it by the program (``execve``)."""
    write_for_owner_only()  # supervisord sets a umask of its own
    end_with_parent(signal.SIGTERM)
    program: Mapping[str, Any] = json.loads(file.read_text())[name]
    if program["adopts_orphans"]:
        adopt_orphans()
    _hold(file.with_name(LOCK))
    if program["first_start"] is not None:
        database, rows_of_users = program["first_start"]
        aside = FirstStart(Path(database), rows_of_users).move_aside_if_half_made()
        if aside is not None:
            print(f"An earlier start was stopped while making {database}; it is now {aside}, a new one is made.")
            sys.stdout.flush()
    os.chdir(program["cwd"])
    # Our own programs, from a file of ours.
    os.execve(program["argv"][0], program["argv"], program["env"])  # noqa: S606


def _hold(lock: Path) -> None:
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    os.set_inheritable(descriptor, True)  # the program keeps the lock after execve


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
