"""By which name a caller may know an annotator: operators read accounts, others pseudonyms."""

from al_server.auth import has_role
from al_server.context import current_catalog
from catalog.access_records import Role
from catalog.records import Label
from services.pseudonyms import SIMULATED, of_account


def shown_name(account: str, *, simulated: bool) -> str:
    """Return the name of an account that drew labels, as the caller may read it."""
    if has_role(Role.OPERATOR):
        return account
    return SIMULATED if simulated else of_account(current_catalog(), account)


def annotator_of(label: Label) -> str:
    """Return who drew a label, as the caller may read it."""
    return shown_name(label.annotator, simulated=label.simulated)
