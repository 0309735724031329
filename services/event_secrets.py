"""The secrets that sign events for subscribers, derived when they are needed and stored nowhere.

A secret is the HMAC-SHA256 of the subscription's uid under `event_signing_key` of the secrets file. So neither the
database nor its dumps hold anything that signs.
"""

import base64
import hashlib
import hmac
from uuid import uuid4

from catalog.errors import ConflictError
from catalog.webhook_records import Subscription


def new_uid() -> str:
    """Return a uid that no subscription has; with it a subscription has another secret than before."""
    return uuid4().hex


def fault_of(subscription: Subscription) -> str | None:
    """Return why a subscription is told nothing at present; None if nothing is wrong."""
    if subscription.uid is not None:
        return None
    return (
        "its secret was stored in the clear by an earlier release and is not used any more; have a new one made "
        f"(glacier-al events rotate {subscription.id}) and give it to the receiver"
    )


def signing_secret(key: str, subscription: Subscription) -> str:
    """Return the secret of a subscription, as Standard Webhooks writes it: "whsec_" and 32 bytes in base64.

    Args:
        key: `event_signing_key` of the secrets file.
        subscription: the subscription.

    Raises:
        ConflictError: it has none, see `fault_of`.
    """
    if subscription.uid is None:
        raise ConflictError(fault_of(subscription) or "")
    digest = hmac.digest(key.encode(), subscription.uid.encode(), hashlib.sha256)
    return "whsec_" + base64.b64encode(digest).decode()
