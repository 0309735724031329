"""Back up an installation while it runs."""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final

from alembic.migration import MigrationContext
from pydantic import BaseModel, ValidationError
from sqlalchemy import make_url

from catalog.database import Database
from catalog.errors import BackupError
from catalog.files import replace
from catalog.settings import Settings
from catalog.settings_sources import config_file
from imagery.errors import StoreError
from imagery.store import RasterStore
from services.backup_folder import BackupFolder, Manifest, Part, SavedFile, sha256_of
from services.database_copies import copy_sqlite, dump_postgresql

CATALOG: Final = {"sqlite": "catalog.sqlite", "postgresql": "catalog.dump"}
DATABASES: Final[dict[Part, str]] = {"mlflow": "mlflow.db", "label-studio": "label_studio.sqlite3"}
STEPS: Final = 8
"""How often `back_up` says what is done, at most."""
_NOTE: Final = "last-backup.json"
_SQLITE: Final = b"SQLite format 3\0"
_BESIDE_A_DATABASE: Final = ("-wal", "-shm", "-journal")


class LastBackup(BaseModel):
    """The newest backup of an installation, wherever it lies.

    Attributes:
        name: Its name.
        folder: The folder that it is in.
        finished_at: When it was whole.
        files: How many files it holds.
        left_out: What is not in it, and why.
    """

    name: str
    folder: str
    finished_at: datetime
    files: int
    left_out: list[str]


def last_backup(settings: Settings) -> LastBackup | None:
    """Return what is noted of the newest backup; None if none was made."""
    try:
        return LastBackup.model_validate_json((settings.var_dir / _NOTE).read_bytes())
    except (OSError, ValidationError):
        return None


def back_up(
    settings: Settings, root: Path, say: Callable[[str], None], show: Callable[[float], None] = lambda _share: None
) -> str:
    """Add a backup to a folder; return its name.

    The order makes the parts fit together: rows of the catalog refer to versions in MLflow, tasks in Label Studio and
    files, never the other way round, and whatever a row refers to was made before the row. So the catalog is copied
    first and what it refers to afterwards; what was added in between is found again by reconciliation.

    Args:
        settings: Of the installation.
        root: The folder, created if it is missing; `services.backup_folder.BackupFolder.held` keeps others from it.
        say: Told what is done.
        show: Told which share of the files is done, 0 to 1.

    Raises:
        BackupError: There is no catalog, or nothing in the raster store, so that nothing is written; or a database
            cannot be copied.
    """
    _check_catalog(settings)
    folder, begun = BackupFolder(root), datetime.now(UTC)
    for name in folder.made_later(begun):
        say(f"the time in the name of the backup {name} has not come yet: the clock was ahead then, or is behind now")
    for name in folder.damaged_manifests():
        say(f"the manifest of the backup {name} is damaged: nothing is taken over from it, and no contents are deleted")
    earlier = _earlier(folder)
    stored = len(RasterStore(settings.raster_store).all_keys())
    _check_store(settings, stored, sum(part == "store" for part, _ in earlier))
    files: list[SavedFile] = []
    taken: dict[str, str] = {}
    left_out: list[str] = []
    expected = stored + _count(settings)

    def take(part: str, found: Iterator[SavedFile]) -> None:
        before = len(files)
        taken[part] = datetime.now(UTC).isoformat()
        for file in found:
            files.append(file)
            show(min(1.0, len(files) / expected))
        size = sum(file.size for file in files[before:])
        say(f"{part}: {len(files) - before} files, {size / 2**20:.1f} MiB")

    take("secrets", _single(folder, "secrets", settings.secrets_file, earlier))
    if not settings.secrets_file.exists():
        left_out.append(
            f"secrets: there is no {settings.secrets_file}; an installation restored from this makes new ones"
        )
    take("settings", _single(folder, "settings", config_file(settings.var_dir), earlier))
    take("catalog", iter([_catalog(folder, settings)]))
    for part, name in DATABASES.items():
        source = settings.var_dir / part / name
        if source.exists():
            take(f"database of {part}", iter([_saved(part, name, *folder.add(partial(copy_sqlite, source)))]))
        else:
            left_out.append(f"{part}: there is no {source}; if it runs elsewhere, back it up there, after this backup")
    for part, name in DATABASES.items():
        take(f"files of {part}", _tree(folder, part, settings.var_dir / part, name, earlier, left_out))
    take("store", _store(folder, RasterStore(settings.raster_store), earlier, left_out))
    name = folder.next_name(begun)
    versions = _versions(settings)
    manifest = Manifest(created=begun.isoformat(), versions=versions, taken=taken, files=files, left_out=left_out)
    folder.write(name, manifest)
    noted = LastBackup(
        name=name, folder=str(root.resolve()), finished_at=datetime.now(UTC), files=len(files), left_out=left_out
    )
    replace(settings.var_dir / _NOTE, noted.model_dump_json())
    return name


def _count(settings: Settings) -> int:
    """Return about how many files a backup holds beside those of the store; more may come while it is made."""
    trees = sum(1 for part in DATABASES for _ in _files_below(settings.var_dir / part, lambda _fault: None))
    return 1 + trees


def _earlier(folder: BackupFolder) -> dict[tuple[str, str], SavedFile]:
    """Return the files of the newest backup whose manifest is whole, by part and path."""
    newest = next((name for name in reversed(folder.names()) if folder.is_whole(name)), None)
    return {} if newest is None else {(file.part, file.path): file for file in folder.read(newest).files}


def _saved(part: Part, path: str, sha256: str, size: int) -> SavedFile:
    return SavedFile(part=part, path=path, sha256=sha256, size=size)


def _catalog(folder: BackupFolder, settings: Settings) -> SavedFile:
    url = make_url(settings.database_url)
    backend = url.get_backend_name()
    if backend == "sqlite":
        saved = folder.add(partial(copy_sqlite, Path(url.database or "")))
    else:
        saved = folder.add(partial(dump_postgresql, settings.database_url))
    return _saved("catalog", CATALOG[backend], *saved)


def _single(
    folder: BackupFolder, part: Part, path: Path, earlier: dict[tuple[str, str], SavedFile]
) -> Iterator[SavedFile]:
    if path.exists():
        yield _copied(folder, part, path, path.name, earlier)


def _tree(
    folder: BackupFolder,
    part: Part,
    source: Path,
    database: str,
    earlier: dict[tuple[str, str], SavedFile],
    left_out: list[str],
) -> Iterator[SavedFile]:
    """Save all files of a folder but for its database; what SQLite keeps beside a database is in the copy of it."""
    for path in _files_below(source, lambda fault: left_out.append(f"{part}: {fault}")):
        relative = path.relative_to(source).as_posix()
        if relative != database and not path.name.endswith(_BESIDE_A_DATABASE):
            try:
                yield _copied(folder, part, path, relative, earlier)
            except FileNotFoundError:  # it was deleted a moment ago
                continue


def _files_below(source: Path, tell: Callable[[str], None]) -> Iterator[Path]:
    """Yield the files below a folder; links are followed, and those that lead nowhere or back are told."""

    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # else it was deleted a moment ago
            tell(f"{error.filename} cannot be read ({error.strerror})")

    def leads_back(path: Path) -> bool:
        return path.is_symlink() and path.resolve() in map(Path.resolve, path.parents)

    for at, folders, names in os.walk(source, onerror=failed, followlinks=True):
        for path in sorted(Path(at, name) for name in names):
            if path.is_file():
                yield path
            elif path.is_symlink():
                tell(f"{path} leads to no file")
        for loop in [name for name in folders if leads_back(Path(at, name))]:
            tell(f"{Path(at, loop)} leads back to a folder that it lies in")
            folders.remove(loop)
        folders.sort()


def _copied(
    folder: BackupFolder, part: Part, path: Path, relative: str, earlier: dict[tuple[str, str], SavedFile]
) -> SavedFile:
    """Save a file, without reading it if size and time are those of the newest backup, which has its content.

    A SQLite database (MLflow's users) is copied as such: its newest content may lie in the files beside it.
    """
    if _is_sqlite(path):
        return _saved(part, relative, *folder.add(partial(copy_sqlite, path)))
    state, known = path.stat(), earlier.get((part, relative))
    is_known = known is not None and (known.size, known.mtime_ns) == (state.st_size, state.st_mtime_ns)
    if known is not None and is_known and folder.has(known.sha256, known.size):
        return known
    sha256, size = folder.add(partial(_copy, path))
    return SavedFile(part=part, path=relative, sha256=sha256, size=size, mtime_ns=state.st_mtime_ns)


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _copy(source: Path, target: Path) -> str:
    shutil.copyfile(source, target)
    return sha256_of(target)


def _store(
    folder: BackupFolder, store: RasterStore, earlier: dict[tuple[str, str], SavedFile], left_out: list[str]
) -> Iterator[SavedFile]:
    """Save the files of the raster store; one that the newest backup has with the noted checksum is not read."""
    for key in store.all_keys():
        known = earlier.get(("store", key))
        if known is not None and known.sha256 == store.checksum(key) and folder.has(known.sha256, known.size):
            yield known
            continue
        try:
            yield _saved("store", key, *folder.add(partial(store.fetch, key)))
        except StoreError as error:  # deleted or found damaged a moment ago
            left_out.append(f"store: {error}")


def _check_catalog(settings: Settings) -> None:
    """Refuse to back up where no catalog is: older backups, which are whole, might be deleted in favour of that."""
    url = make_url(settings.database_url)
    is_missing = url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file()
    if is_missing or _revision(settings) is None:
        raise BackupError(
            f"found no catalog in {url.render_as_string(hide_password=True)}; expected the database of an "
            "installation: see that its disk is mounted and that GLACIER_AL_VAR_DIR names its data folder; nothing was "
            "backed up, and no backup deleted"
        )


def _check_store(settings: Settings, stored: int, held: int) -> None:
    """Refuse to back up an empty raster store if the newest backup holds files of it."""
    if held and not stored:
        raise BackupError(
            f"found no file in the raster store {settings.raster_store}; the newest backup has {held}: see that its "
            "disk is mounted, or back up into another folder if it is to be empty; nothing was backed up, and no "
            "backup deleted"
        )


def _versions(settings: Settings) -> dict[str, str]:
    installed = {name: metadata.version(name) for name in ("glacier-al", "mlflow")}
    return {**installed, "schema": str(_revision(settings))}


def _revision(settings: Settings) -> str | None:
    """Return the revision of the catalog's schema; None if the database has none."""
    database = Database(settings.database_url)
    try:
        with database.engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        database.dispose()
