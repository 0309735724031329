"""What the webhook that we install in Label Studio says to prove that it is ours."""

SECRET_HEADER = "X-Glacier-Webhook-Secret"  # noqa: S105 - its name only
