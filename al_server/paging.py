"""Pages of lists: of the API with the header ``Link``, and of our pages with links that need no script."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from flask import Response, abort, request, url_for
from pydantic import BaseModel

from al_server.context import json_response
from al_server.schemas import Limited
from catalog.errors import NotFoundError
from catalog.paging import Cut, Key
from services.request_types import MAX_INTEGER

Item = TypeVar("Item")
_SIDES: Final = ("before", "after")


def cut_of(query: Limited) -> Cut:
    """Return the page that a request asks for."""
    asked = query.model_dump()
    return Cut(query.limit, asked.get("before"), asked.get("after"))


def page_response(answers: Sequence[BaseModel], query: Limited, last: Key | None) -> Response:
    """Return a page of a list, with the address of the next page in the header ``Link``.

    Args:
        answers: The items.
        query: What was asked for; its schema has a field ``before`` or ``after``.
        last: The key at which the next page begins; None if there is none.
    """
    response = json_response(list(answers))
    if last is not None:
        side = next(name for name in _SIDES if name in type(query).model_fields)
        asked = query.model_dump(mode="json", exclude_unset=True) | {"limit": query.limit, side: last}
        following = url_for(str(request.endpoint), **{**(request.view_args or {}), **asked})
        response.headers["Link"] = f'<{following}>; rel="next"'
    return response


def last_key(rows: Sequence[Item], query: Limited, key: Callable[[Item], Key]) -> Key | None:
    """Return the key at which the next page begins; None if this one is not full, and therefore the last."""
    return key(rows[-1]) if len(rows) == query.limit else None


@dataclass(frozen=True)
class Pager:
    """Addresses of the pages beside the one that is shown.

    Attributes:
        previous: Towards the beginning of the list; None on the first page.
        following: Towards its end; None on the last page.
    """

    previous: str | None
    following: str | None


def show_page(
    name: str,
    size: int,
    load: Callable[[Cut], Sequence[Item]],
    key: Callable[[Item], Key],
    *,
    newest_first: bool = True,
    endpoint: str = "",
    of: type[int] | type[str] = int,
) -> tuple[list[Item], Pager]:
    """Return what a page of ours shows of a list, as the parameters ``<name>_before`` and ``<name>_after`` say.

    Args:
        name: Name of the list in parameters, and id of its section.
        size: How many items are shown at once.
        load: Returns a page of the list.
        key: Returns the key of an item.
        newest_first: Whether the greatest key comes first.
        endpoint: The page that the links lead to; the one that was asked for if empty.
        of: Type of the keys.

    Returns:
        The items that are shown, and the addresses of the pages beside them.

    Raises:
        HTTPException: 422, a parameter is no key, or both sides are given.
    """
    cut = Cut(size + 1, _asked_key(f"{name}_before", of), _asked_key(f"{name}_after", of))
    if cut.before is not None and cut.after is not None:
        abort(422, f"found both {name}_before and {name}_after, expected one of them at most")
    back, on = ("after", "before") if newest_first else ("before", "after")
    leads_back = getattr(cut, back) is not None
    found = _loaded(load, cut)
    if not found or (leads_back and len(found) <= size):  # show the first page, and as a whole
        cut, leads_back = Cut(size + 1), False
        found = list(load(cut))
    has_more = len(found) > size
    shown = found[-size:] if leads_back else found[:size]
    is_first = not leads_back and getattr(cut, on) is None

    def address(side: str, item: Item) -> str:
        others = {asked: value for asked, value in kept_places().items() if asked not in _names(name)}
        own = {} if endpoint else request.view_args or {}
        values = {**own, **others, f"{name}_{side}": key(item)}
        return url_for(endpoint or str(request.endpoint), **values, _anchor=name)

    pager = Pager(
        previous=None if is_first else address(back, shown[0]),
        following=address(on, shown[-1]) if has_more or leads_back else None,
    )
    return shown, pager


def _loaded(load: Callable[[Cut], Sequence[Item]], cut: Cut) -> list[Item]:
    """Return a page of a list; an empty one if the place at which it is cut is gone."""
    try:
        return list(load(cut))
    except NotFoundError:
        return []


def kept_places() -> dict[str, str]:
    """Return the parameters of the present address that say which pages of lists are shown, and no others."""
    return {name: value for name, value in request.args.items() if name.endswith(tuple(f"_{side}" for side in _SIDES))}


def _names(name: str) -> tuple[str, ...]:
    return tuple(f"{name}_{side}" for side in _SIDES)


def _asked_key(name: str, of: type[int] | type[str]) -> Key | None:
    given = request.args.get(name)
    if given is None or of is str:
        return given
    if not given.isascii() or not given.isdecimal() or int(given) > MAX_INTEGER:
        abort(422, f"found {name}={given[:40]!r}, expected a whole number up to {MAX_INTEGER}")
    return int(given)
