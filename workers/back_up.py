"""Job: add a backup of the installation to the folder of the setting ``backup_folder``, while everything runs."""

from itertools import count

from catalog.errors import BackupError
from services import backup
from services.backup_folder import BackupFolder
from workers.jobs import JobContext


def back_up(context: JobContext) -> None:
    """Do what ``glacier-al backup`` does.

    Raises:
        BackupError: no folder is set any more, another process makes a backup there, or a database cannot be copied.
    """
    settings = context.catalog.settings
    if settings.backup_folder is None:
        raise BackupError("found no folder for backups; expected one in the setting backup_folder")
    done = count(1)
    with BackupFolder(settings.backup_folder).held():
        backup.back_up(settings, settings.backup_folder, lambda said: context.progress(next(done), backup.STEPS, said))
