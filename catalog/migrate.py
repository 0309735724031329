"""``python -m catalog.migrate``: bring the database to the newest schema."""

from catalog.database import Database
from catalog.settings import Settings
from catalog.start import readable_faults


@readable_faults()
def main() -> None:
    """Migrate the database that the settings name to the newest schema."""
    Database(Settings().database_url).migrate()


if __name__ == "__main__":
    main()
