"""Texts for readers: what failed, in the words of any error. They are short, and hold no account and no key."""

import re
from typing import Annotated, Any, Final

from sqlalchemy import Dialect, String
from sqlalchemy.exc import SQLAlchemyError, StatementError
from sqlalchemy.orm import mapped_column
from sqlalchemy.types import TypeDecorator

MOST_CHARACTERS: Final = 2_000
"""Most characters of a text: the longest advice, the command that warps a scene, has some 1,500."""
_MOST_READ: Final = 50 * MOST_CHARACTERS  # a text may be as long as what others sent
# Each repetition is bounded, so that the time taken grows with the text, and no faster.
_ACCOUNT: Final = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,254}@[\w-]{1,63}(\.[\w-]{1,63}){1,8}")
_URL: Final = re.compile(r"(://|/vsi\w{1,20}\?)\S*")
_LOG_IN: Final = re.compile(r"(?<=://)[^/]*@")
_PUNCTUATION: Final = "'\"`)]}>,.:;"  # after a URL, rather than the end of it


def told(text: str) -> str:
    """Return a text as readers may see it: `without_keys`, and with no account's address."""
    return _shortened(_ACCOUNT.sub("(an address)", _without_keys(_shortened(text, _MOST_READ))))


def without_keys(text: str) -> str:
    """Return a text with at most `MOST_CHARACTERS`, and URLs without log-ins and queries: those may hold keys."""
    return _shortened(_without_keys(_shortened(text, _MOST_READ)))


def described(error: BaseException) -> str:
    """Return an error as readers are told it: of a database, the first line, without SQL and values."""
    said = str(error)
    if isinstance(error, SQLAlchemyError):
        said = str(error.orig if isinstance(error, StatementError) and error.orig else error).partition("\n")[0]
    return f"{type(error).__name__}: {said}"


class ToldText(TypeDecorator[str]):
    """A column of texts for readers; what is stored is `told`."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Shorten a text, and take out what readers must not see."""
        return None if value is None else told(value)


Told = Annotated[str, mapped_column(ToldText)]
"""Type of a mapped attribute that readers see and that may be the text of any error."""


def _without_keys(text: str) -> str:
    return _URL.sub(_shown_url, text)


def _shown_url(found: re.Match[str]) -> str:
    whole = found.group()
    url = whole.rstrip(_PUNCTUATION)
    address, mark, _ = url.partition("?")
    return f"{_LOG_IN.sub('', address)}{mark and '?…'}{whole[len(url) :]}"


def _shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
