"""What can go wrong between Label Studio and us."""


class LabelStudioError(RuntimeError):
    """Label Studio cannot be reached, or answered otherwise than expected.

    Attributes:
        url: The address that was called.
        status: The HTTP status of the answer; None if there was no answer.
    """

    def __init__(self, message: str, *, url: str, status: int | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.status = status

    @property
    def refused(self) -> bool:
        """Whether Label Studio answered that the request itself is wrong, so that waiting will not help."""
        return self.status in {400, 404, 409, 413, 422}


class RegionError(ValueError):
    """A region of an annotation or prediction cannot be read, or cannot be drawn by Label Studio."""


class PredictionError(ValueError):
    """A prediction or task is refused before it is sent, because Label Studio itself would accept anything."""


class EventError(ValueError):
    """A label event (the body of a webhook, or an annotation read from the API) is malformed."""
