"""``glacier-al backup`` and ``glacier-al restore``."""

from pathlib import Path

import click

from catalog.settings import Settings
from catalog.settings_sources import data_folder
from cli.output import json_option, remark, tell
from cli.progress import QUIET_S, progress
from cli.restore import restore as restore_backup
from cli.running import check_folder
from services.backup import back_up
from services.backup_folder import BackupFolder


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--keep", type=click.IntRange(1), help="delete older backups but for this many of the newest")
@json_option
def backup(folder: Path, keep: int | None) -> None:
    """Add a backup of this installation to FOLDER, while it runs or not; what FOLDER has is not copied again."""
    settings = Settings()
    check_folder(settings)
    kept = BackupFolder(folder)
    with kept.held():
        with progress("the backup", QUIET_S) as told:
            name = back_up(settings, folder, remark, lambda share: told(share, None))
        deleted = 0 if keep is None else kept.prune(keep)
    manifest = kept.read(name)
    for line in manifest.left_out:
        remark(f"Left out: {line}")
    text = f"Backup {name} holds {len(manifest.files)} files. Scenes stay where they are: back them up yourself."
    if deleted:
        text += f"\nDeleted {deleted} older backups."
    tell(text, name=name, folder=folder, files=len(manifest.files), left_out=list(manifest.left_out), deleted=deleted)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--snapshot", help="name of the backup; by default the newest")
@json_option
def restore(folder: Path, snapshot: str | None) -> None:
    """Restore a backup from FOLDER into the data folder (GLACIER_AL_VAR_DIR), which must be empty."""
    var_dir = data_folder(Settings.model_fields)
    with progress("the restoration", QUIET_S) as told:
        name = restore_backup(folder, snapshot, var_dir, remark, lambda share: told(share, None))
    text = f"Restored the backup {name}. Start it with `glacier-al up`, then run `glacier-al doctor`."
    tell(text, name=name, folder=var_dir)
