"""Pseudonyms of annotators, for data that leave the installation.

Accounts are e-mail addresses, which are personal data. A pseudonym is the same in every export of an installation, so
that the labels of one person can be recognised as such, but it cannot be turned back into the address without the
installation's secrets.
"""

import hashlib
import hmac

from catalog.context import Catalog
from catalog.records import Label

SIMULATED = "simulated annotator"


def pseudonym(catalog: Catalog, label: Label) -> str:
    """Return the pseudonym of the annotator of a label ("analyst-3f9c2a71"); a simulated one is called so."""
    return SIMULATED if label.simulated else of_account(catalog, label.annotator)


def of_account(catalog: Catalog, account: str) -> str:
    """Return the pseudonym of an account."""
    key = b"analysts:" + catalog.secrets.url_signing_key.encode()
    return f"analyst-{hmac.new(key, account.lower().encode(), hashlib.sha256).hexdigest()[:8]}"
