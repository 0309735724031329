"""Pages of lists of rows. A page is cut at the key of a row: rows that are added later move no row to another page."""

from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute

MOST: Final = 1000
"""Most rows that the API gives at once."""
Key = int | str
Column = InstrumentedAttribute[Any] | ColumnElement[Any]
Selected = TypeVar("Selected", bound=Select[*tuple[Any, ...]])


@dataclass(frozen=True)
class Cut:
    """Which page of a list is wanted; without `before` and `after` the first one.

    Attributes:
        limit: Most rows on it.
        before: Only rows with smaller keys, and of them those next to it.
        after: Only rows with greater keys, and of them those next to it.
    """

    limit: int
    before: Key | None = None
    after: Key | None = None


def cut_out(
    statement: Selected, key: Column, cut: Cut | None, *, newest_first: bool, moment: Column | None = None
) -> Selected:
    """Order a list, and select a page of it.

    Args:
        statement: Selects the list, in any order.
        key: Unique; orders the list.
        cut: The page; None for the whole list.
        newest_first: Whether the greatest key comes first.
        moment: Orders the list before the key does, where keys do not ascend with time. Without a row of the key at
            which the page is cut it is empty.

    Returns:
        The statement. Its rows are in the order of the list, whichever side of the page was given.
    """
    columns = [key] if moment is None else [moment, key]
    upwards, downwards = columns, [column.desc() for column in columns]
    in_order, in_reverse = (downwards, upwards) if newest_first else (upwards, downwards)
    ordered = statement.order_by(*in_order)
    if cut is None:
        return ordered
    if cut.before is not None and cut.after is not None:
        raise ValueError("found both `before` and `after`, expected one of them at most")
    if cut.before is None and cut.after is None:
        return ordered.limit(cut.limit)
    is_beyond = _beyond(key, cut, moment)
    if (cut.before is not None) == newest_first:
        return ordered.where(is_beyond).limit(cut.limit)
    nearest = statement.with_only_columns(key, maintain_column_froms=True).where(is_beyond)
    return ordered.where(key.in_(nearest.order_by(*in_reverse).limit(cut.limit).correlate(None)))


def _beyond(key: Column, cut: Cut, moment: Column | None) -> ColumnElement[bool]:
    is_older = cut.before is not None
    place = cut.before if is_older else cut.after
    by_key = key < place if is_older else key > place
    if moment is None:
        return by_key
    its_moment = select(moment).where(key == place).correlate(None).scalar_subquery()
    # The first condition says nothing new, but makes databases begin to read at the place, not at the end of the list.
    reached, passed = (
        (moment <= its_moment, moment < its_moment) if is_older else (moment >= its_moment, moment > its_moment)
    )
    return and_(reached, or_(passed, by_key))
