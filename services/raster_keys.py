"""Keys of the files in the raster store, shared by the workers that write them and the server that reads them."""

import re
from typing import Final, Literal, get_args

PredictionSuffix = Literal["confidence.tif", "geojson", "gpkg", "shp.zip", "areas.json", "tif"]
"""The files of a predicted scene, in the order in which they are written."""

ChangeSuffix = Literal["csv", "gpkg", "png", "json"]
"""The files of a change between two scenes, in the order in which they are written."""

PREDICTION_SUFFIXES: Final[tuple[PredictionSuffix, ...]] = get_args(PredictionSuffix)
CHANGE_SUFFIXES: Final[tuple[ChangeSuffix, ...]] = get_args(ChangeSuffix)

GLIMS = "glims"
VIEWS = "views"

_VIEW = re.compile(rf"{VIEWS}/patch-(\d+)/(.+)\.png")
_UNCERTAINTY_VIEW = re.compile(r"uncertainty-(\d+)(?:-part-\d+)?")

DATA_SETS = "data-sets"
UPLOADS = "uploads"


def truth(scene_id: int) -> str:
    """Return the key of the rasterised outlines of a scene."""
    return f"scenes/{scene_id}/truth.tif"


def prior(scene_id: int) -> str:
    """Return the key of the rasterised prior outlines of a scene: the weak mask."""
    return f"scenes/{scene_id}/prior.tif"


def scoring(scoring_id: int) -> str:
    """Return the folder of all files of a scoring."""
    return f"scorings/{scoring_id}"


def scored_scene(scoring_id: int, scene_id: int) -> str:
    """Return the folder of the maps of a scene by a scoring."""
    return f"scorings/{scoring_id}/scene-{scene_id}"


def scored(scoring_id: int, scene_id: int, what: str) -> str:
    """Return the key of a map of a scene by a scoring; ``what`` is one of `workers.scored_maps.MAPS`."""
    return f"scorings/{scoring_id}/scene-{scene_id}/{what}.tif"


def scored_part(scoring_id: int, scene_id: int, what: str, stage: int, first_row: int) -> str:
    """Return the key of the rows of such a map that one shard wrote; removed when all are merged."""
    return f"scorings/{scoring_id}/scene-{scene_id}/{what}{_of_shard(stage, first_row)}.tif"


def half_scores(scoring_id: int) -> str:
    """Return the key of the array of scores by each half of the passes of a scoring (``workers.half_scores``)."""
    return f"scorings/{scoring_id}/half-scores.npy"


def half_scores_part(scoring_id: int, scene_id: int, stage: int, first_row: int) -> str:
    """Return the key of the rows of that array that one shard wrote; removed when all are merged."""
    return f"scorings/{scoring_id}/scene-{scene_id}/half-scores{_of_shard(stage, first_row)}.npy"


def score_table(scoring_id: int) -> str:
    """Return the key of the table of all patches of a scoring (``services.score_table``)."""
    return f"scorings/{scoring_id}/patches.npy"


def score_table_part(scoring_id: int, scene_id: int, stage: int, first_row: int) -> str:
    """Return the key of the rows of that table that one shard wrote; removed when all are merged."""
    return f"scorings/{scoring_id}/scene-{scene_id}/patches{_of_shard(stage, first_row)}.npy"


def patch_features(scoring_id: int) -> str:
    """Return the key of the features of all patches by a scoring (``services.patch_features``)."""
    return f"scorings/{scoring_id}/features.npy"


def patch_features_part(scoring_id: int, scene_id: int, stage: int, first_row: int) -> str:
    """Return the key of the rows of that array that one shard wrote; removed when all are merged."""
    return f"scorings/{scoring_id}/scene-{scene_id}/features{_of_shard(stage, first_row)}.npy"


def _of_shard(stage: int, first_row: int) -> str:
    later = f"-stage-{stage}" if stage else ""
    return f"{later}-from-row-{first_row}"


def prediction(scene_id: int, version: int, fingerprint: str, suffix: str) -> str:
    """Return the key of a file of a predicted scene; ``suffix`` is one of `PREDICTION_SUFFIXES`.

    They are the confidence of the class map, the outlines in three formats, the total areas, and the class map.

    ``fingerprint`` is a hash of everything else that shapes the files (`services.delivery.fingerprint`).
    """
    return f"predictions/scene-{scene_id}/version-{version}-{fingerprint}.{suffix}"


def area_prediction(uid: str, version: int, suffix: str) -> str:
    """Return the key of a file of a predicted area; ``suffix`` is one of `PREDICTION_SUFFIXES`."""
    return f"predictions/area-{uid}/version-{version}.{suffix}"


def upload(uid: str) -> str:
    """Return the key of the GeoTIFF that was sent to be predicted; removed when that is done."""
    return f"{UPLOADS}/{uid}.tif"


def glims_package(scene_id: int, version: int, fingerprint: str, digest: str) -> str:
    """Return the key of a GLIMS package of a predicted scene; ``digest`` is of its labels and its window."""
    return f"predictions/scene-{scene_id}/version-{version}-{fingerprint}-{GLIMS}-{digest}.zip"


def scene_change(uid: str, suffix: str) -> str:
    """Return the key of a file of a change between two scenes; ``suffix`` is one of `CHANGE_SUFFIXES`."""
    return f"predictions/change-{uid}/change.{suffix}"


def sent_inventory(uid: str, ending: str) -> str:
    """Return the key of the inventory that was sent for a submission; removed when that is made."""
    return f"{UPLOADS}/{uid}{ending}"


def is_upload(key: str) -> bool:
    """Return whether a key is one of `upload` or `sent_inventory`."""
    return key.startswith(f"{UPLOADS}/")


def prediction_of(key: str) -> str | None:
    """Return the part that the keys of all files of a prediction share; None if a key belongs to none.

    Of a `glims_package`, which is used and removed by itself, that is all but the ending.
    """
    ends = (f".{suffix}" for suffix in (*PREDICTION_SUFFIXES, *CHANGE_SUFFIXES, "zip"))
    if not key.startswith("predictions/"):
        return None
    return next((key.removesuffix(end) for end in ends if key.endswith(end)), None)


def part_ending(proposal_id: int | None) -> str:
    """Return what names of views end with in which the part that a proposal asks for is outlined; None: the whole."""
    return "" if proposal_id is None else f"-part-{proposal_id}"


def uncertainty_view(scoring_id: int, outlined_for: int | None = None) -> str:
    """Return the name of the view of a patch that shows the uncertainty by a scoring; for a part, see `part_ending`."""
    return f"uncertainty-{scoring_id}{part_ending(outlined_for)}"


def scoring_of_view(name: str) -> int | None:
    """Return the scoring whose uncertainty a view of a patch shows; None if it shows something else."""
    found = _UNCERTAINTY_VIEW.fullmatch(name)
    return None if found is None else int(found[1])


def view(patch_id: int, name: str) -> str:
    """Return the key of a view of a patch."""
    return f"{VIEWS}/patch-{patch_id}/{name}.png"


def picture_of_view(key: str) -> tuple[int, str] | None:
    """Return the patch and the name of a `view` by its key; None if it is the key of something else."""
    found = _VIEW.fullmatch(key)
    return None if found is None else (int(found[1]), found[2])


def bands(patch_id: int) -> str:
    """Return the key of the bands of a patch that annotators may click on (`services.patch_bands`)."""
    return f"{VIEWS}/patch-{patch_id}/bands.npy"


def is_bands(key: str) -> bool:
    """Return whether a key is one of `bands`."""
    return key.startswith(f"{VIEWS}/") and key.endswith("/bands.npy")


def preannotation(proposal_uid: str, version: int) -> str:
    """Return the key of the mask that an annotator was shown; ingestion counts the pixels that differ from it."""
    return f"preannotations/{proposal_uid}/version-{version}.tif"


def checkpoint(run_id: int) -> str:
    """Return the key of the checkpoint of a training run."""
    return f"training/run-{run_id}/checkpoint.safetensors"


def data_set(uid: str) -> str:
    """Return the key of the zip of a data set (`services.data_sets`)."""
    return f"{DATA_SETS}/{uid}.zip"


def label(patch_id: int, annotation_id: int, event_id: int) -> str:
    """Return the key of the label mask that a label event gave."""
    return f"labels/patch-{patch_id}/annotation-{annotation_id}-event-{event_id}.tif"


def correction(patch_id: int, event_id: int) -> str:
    """Return the key of the label mask that a correction on the map gave."""
    return f"labels/patch-{patch_id}/correction-event-{event_id}.tif"
