"""Which headers of ours each response has, for the OpenAPI document; `declare` is called once all views are known.

Headers that every response has (its type, its length, and those of `al_server.safety`) are not among them.
"""

from collections.abc import Mapping
from typing import Any, Final

Operation = dict[str, Any]

DESCRIPTIONS: Final = {
    "Accept-Ranges": "`bytes`: parts of the file may be asked for",
    "Allow": "the methods that the address takes",
    "Cache-Control": "who may keep the response, and for how long",
    "Content-Disposition": "under which name to save the file",
    "Content-Range": "which bytes of how many these are",
    "ETag": "names this content; as `If-None-Match` in a later request it saves sending the same again",
    "Last-Modified": "when the file was written",
    "Link": "`next`: the address of the next page of the list",
    "Location": "where to ask what came of it",
    "Retry-After": "seconds after which to ask again",
    "WWW-Authenticate": "which credentials are needed",
    "X-Model-Version": "number of the version that the content is of, or was made by",
    "X-Pixels": "JSON: `channels`, `shape`, `measured`",
    "X-Registry-Seen": "when MLflow last confirmed which version is served",
}
"""What each header says."""

_DESCRIBED_BY: Final = "`describedby`: the lineage of the version that made the map"
_KEPT: Final = ("Cache-Control",)
_CONFIRMED: Final = ("Cache-Control", "ETag")
_FILE: Final = (*_CONFIRMED, "Accept-Ranges", "Content-Disposition", "Last-Modified")
_MAP: Final = ("Content-Disposition", "Link", "X-Model-Version")

ON_SUCCESS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("data_sets.file", "experiments.file", "submissions.file"), _FILE),
    **dict.fromkeys(("experiments.table", "experiments.figure"), (*_KEPT, "Content-Disposition")),
    **{f"models.latest_{name}": (*_FILE, "X-Model-Version") for name in ("onnx", "weights", "card")},
    "models.latest": (*_CONFIRMED, "X-Registry-Seen"),
    **dict.fromkeys(("map_tiles.view_tile", "map_tiles.layer_tile"), _CONFIRMED),
    **dict.fromkeys(("qgis_layers.view_tile", "qgis_layers.layer_tile"), _CONFIRMED),
    "qgis.deepness_model": (*_CONFIRMED, "Content-Disposition", "X-Model-Version"),
    **dict.fromkeys(
        ("qgis_layers.layers", "qgis_layers.outlines_style", "qgis_layers.classes_style"),
        (*_KEPT, "Content-Disposition"),
    ),
    "scene_pixels.read_pixels": (*_CONFIRMED, "X-Model-Version", "X-Pixels"),
    **{
        f"scene_windows.{name}": _KEPT
        for name in ("view_window", "map_window", "window_picture", "band_window", "superpixel_window")
    },
    "scene_glaciers.list_glaciers": _KEPT,
    "patches.composite": _KEPT,
    "patches.label_picture": _KEPT,
    "saliency.block_saliency": _KEPT,
    "live.live": _KEPT,
    "changes.file": ("Content-Disposition",),
    "area_predictions.file": _MAP,
    **dict.fromkeys(("subscriptions.rotate", "tokens.rotate_token"), _KEPT),
}
"""Headers of the responses 200, 206 and 304 by endpoint, beside ``Link`` of lists and those of all predictions."""

ON_ACCEPTANCE: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        (
            *("backups.back_up", "data_sets.make", "submissions.make", "fine_tunes.train", "installation_checks.check"),
            *("experiments.make", "experiments.simulate"),
            *("models.promote", "models.roll_back", "reproductions.reproduce", "rounds.open_round"),
            *("scenes.register_scene", "scenes.replace_scene"),
        ),
        ("Location",),
    ),
    **dict.fromkeys(("area_predictions.predict", "changes.ask"), ("Location", "Retry-After")),
    **dict.fromkeys(("subscriptions.subscribe", "tokens.add_token"), _KEPT),
}
"""Headers of the responses 201 and 202 by endpoint, beside those of all predictions."""

ON_ERROR: Final = ("Allow", "Cache-Control", "Content-Range", "Retry-After", "WWW-Authenticate")
"""Headers that an error may have."""


def declare(operation: Operation, endpoint: str) -> None:
    """Declare the headers of all responses of an operation in the OpenAPI document."""
    for status, response in operation["responses"].items():
        names = _names(operation, endpoint, status)
        if names:
            response["headers"] = {name: _describe(name, operation) for name in sorted(names)}


def _names(operation: Operation, endpoint: str, status: str) -> tuple[str, ...]:
    if status == "default":
        return ON_ERROR
    is_prediction = endpoint.startswith("predictions.")
    if status in {"201", "202"}:
        return ("Location", "Retry-After") if is_prediction else ON_ACCEPTANCE.get(endpoint, ())
    names = _MAP if is_prediction else ON_SUCCESS.get(endpoint, ())
    if status == "200" and _is_paged(operation):
        return (*names, "Link")
    return (*names, "Content-Range") if status == "206" else names


def _is_paged(operation: Operation) -> bool:
    """Return whether an operation gives a list in pages whose next one a header names; GeoJSON names it itself."""
    parameters = {parameter["name"] for parameter in operation.get("parameters", [])}
    is_json = "application/json" in operation["responses"].get("200", {}).get("content", {})
    return is_json and "limit" in parameters and bool(parameters & {"before", "after"})


def _describe(name: str, operation: Operation) -> dict[str, Any]:
    is_page = name != "Link" or _is_paged(operation)
    kind = "integer" if name in {"Retry-After", "X-Model-Version"} else "string"
    return {"description": DESCRIPTIONS[name] if is_page else _DESCRIBED_BY, "schema": {"type": kind}}
