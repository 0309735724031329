"""Errors that pass by themselves: a later attempt of the same job may succeed although nobody has changed anything."""

from sqlalchemy.exc import OperationalError

from catalog.errors import DecisionUnderwayError, ServiceDownError, SetAsideError
from imagery.errors import DamagedFileError
from imagery.lacking import was_lacking
from labeling.errors import LabelStudioError


def awaits_return(error: BaseException) -> bool:
    """Return whether a service, or every scene or label that the job needs, is away: the job waits until it is back."""
    if isinstance(error, LabelStudioError):
        return not error.refused
    return isinstance(error, ServiceDownError | SetAsideError)


def may_pass(error: BaseException) -> bool:
    """Return whether another attempt may succeed: nothing must be recorded as failed for good because of the error.

    Besides what `awaits_return`, these are a database that does not answer, a damaged file of the raster store, which
    is made again meanwhile, another decision about the served version, and a lack of memory or file handles.
    """
    passing = OperationalError | DamagedFileError | DecisionUnderwayError
    return awaits_return(error) or isinstance(error, passing) or was_lacking(error)
