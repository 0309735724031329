"""Events that the server sends to subscribers: checked signatures, typed contents (Standard Webhooks)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from glacier_al_client.base import Schema
from glacier_al_client.errors import ClientError, UnexpectedAnswerError

MODEL_PROMOTED: Final = "model.promoted"
CANARY_ALERT: Final = "model.canary_alert"


class SignatureError(ClientError):
    """A request is not from the server, was changed on its way, or is older or newer than five minutes."""


class WebhookEvent(Schema):
    """An event.

    Attributes:
        type: ``model.promoted`` or ``model.canary_alert``; ignore others, which newer servers may send.
        timestamp: When it happened, which may be long before it arrives.
        data: Its contents, as docs/api.md describes them.
    """

    type: str
    timestamp: datetime
    data: dict[str, Any]


def read_event(body: bytes, headers: Mapping[str, str], secret: str) -> WebhookEvent:
    """Return the event in a request, after its signature was checked.

    An event may arrive twice: the header ``webhook-id`` is the same then.

    Args:
        body: The body, byte by byte as it came: the signature is of these.
        headers: Headers of the request; their case does not matter.
        secret: The secret of the subscription.

    Raises:
        SignatureError: Do not trust the request; answer with 401.
        UnexpectedAnswerError: The signature is good, but the body is no event.
    """
    try:
        Webhook(secret).verify(body, dict(headers), json_parse=False)
        return WebhookEvent.model_validate_json(body)
    except ValidationError as error:
        raise UnexpectedAnswerError(f"the body of the webhook is no event: {error}") from error
    except (WebhookVerificationError, ValueError) as error:  # ValueError: a signature that is no base64, for example
        raise SignatureError(f"the webhook is not from the server: {error}") from error
