"""The arms of the running project, and what a further round is expected to bring."""

from collections.abc import Sequence
from dataclasses import asdict

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.arm_schemas import ArmsAnswer
from al_server.context import current_catalog, current_parts, json_response
from catalog.registry import ModelVersion
from services import arms, forecast, stability
from services.class_scheme import scheme_in_force
from services.version_figures import figures_of

api = APIBlueprint("arms", __name__, url_prefix="/api/v1/arms", abp_tags=[Tag(name="arms")])


@api.get("", responses={200: ArmsAnswer})
def compare_arms() -> Response:
    """Compare what choosing found with what controls found, and forecast a further round."""
    return json_response(describe_arms(current_parts().models.versions(forecast.VERSIONS)))


def describe_arms(versions: Sequence[ModelVersion]) -> ArmsAnswer:
    """Return the estimates of `services.arms`, `services.stability` and, from these versions, `services.forecast`.

    Args:
        versions: Newest first.
    """
    catalog = current_catalog()
    with catalog.read() as session:
        labels = arms.read_labels(session)
        minutes = forecast.minutes_of_last(session, forecast.COSTED_LABELS)
        agreements = stability.read(session)
        classes = scheme_in_force(session, catalog.settings).names
    points = forecast.curve(figures_of(version) for version in versions[: forecast.VERSIONS])
    expected = forecast.forecast(points, catalog.settings.round_size, minutes)
    is_stable = stability.has_stabilised(agreements, catalog.settings.stable_kappa)
    return ArmsAnswer(
        **asdict(arms.compare(labels)),
        classes=list(classes),
        next_round=asdict(expected) if expected is not None else None,
        agreements=[asdict(item) | {"least": item.least} for item in agreements],
        has_stabilised=is_stable,
        worth=forecast.worth(expected, catalog.settings.worthwhile_gain, is_stable),
    )
