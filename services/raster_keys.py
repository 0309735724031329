"""Where each raster lies in the store: the names that workers write under and the server reads under."""

PREDICTION_SUFFIXES = ("geojson", "gpkg", "shp.zip", "tif")
"""The files of a predicted scene, in the order in which they are written."""


def truth(scene_id: int) -> str:
    """The rasterised outlines of a scene."""
    return f"scenes/{scene_id}/truth.tif"


def scoring(scoring_id: int) -> str:
    """The folder of all files of a scoring."""
    return f"scorings/{scoring_id}"


def scored(scoring_id: int, scene_id: int, what: str) -> str:
    """The map of a scene by a scoring; ``what`` is ``classes`` or ``entropy``."""
    return f"scorings/{scoring_id}/scene-{scene_id}/{what}.tif"


def scored_part(scoring_id: int, scene_id: int, what: str, stage: int, first_row: int) -> str:
    """The rows of such a map that one shard wrote, until all are merged."""
    return f"scorings/{scoring_id}/scene-{scene_id}/{what}{_of_shard(stage, first_row)}.tif"


def half_scores(scoring_id: int) -> str:
    """The array of scores by each half of the passes of a scoring (``workers.half_scores``)."""
    return f"scorings/{scoring_id}/half-scores.npy"


def half_scores_part(scoring_id: int, scene_id: int, stage: int, first_row: int) -> str:
    """The rows of that array that one shard wrote, until all are merged."""
    return f"scorings/{scoring_id}/scene-{scene_id}/half-scores{_of_shard(stage, first_row)}.npy"


def _of_shard(stage: int, first_row: int) -> str:
    later = f"-stage-{stage}" if stage else ""
    return f"{later}-from-row-{first_row}"


def prediction(scene_id: int, version: int, fingerprint: str, suffix: str) -> str:
    """A scene as a version predicts it: ``tif`` (class map), ``geojson``, ``gpkg`` or ``shp.zip`` (outlines).

    ``fingerprint`` stands for everything else that shapes the files (`services.delivery.fingerprint`).
    """
    return f"predictions/scene-{scene_id}/version-{version}-{fingerprint}.{suffix}"


def uncertainty_view(scoring_id: int) -> str:
    """The name of the picture of a patch that shows the uncertainty by a scoring."""
    return f"uncertainty-{scoring_id}"


def view(patch_id: int, name: str) -> str:
    """A picture of a patch for its annotator."""
    return f"views/patch-{patch_id}/{name}.png"


def preannotation(proposal_uid: str, version: int) -> str:
    """The mask that an annotator was shown; ingestion compares the answer with it."""
    return f"preannotations/{proposal_uid}/version-{version}.tif"


def checkpoint(run_id: int) -> str:
    """The state of an interrupted training run."""
    return f"training/run-{run_id}/checkpoint.safetensors"


def label(patch_id: int, annotation_id: int, event_id: int) -> str:
    """The mask that followed from a label event."""
    return f"labels/patch-{patch_id}/annotation-{annotation_id}-event-{event_id}.tif"
