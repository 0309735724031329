"""``python -m catalog.migrate``: bring the database to the newest schema."""

from catalog.database import Database
from catalog.settings import Settings

if __name__ == "__main__":
    Database(Settings().database_url).migrate()
