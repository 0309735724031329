"""Where each raster lies in the store: the names that workers write under and the server reads under."""

PREDICTION_SUFFIXES = ("geojson", "gpkg", "shp.zip", "tif")
"""The files of a predicted scene, in the order in which they are written."""


def truth(scene_id: int) -> str:
    """The rasterised outlines of a scene."""
    return f"scenes/{scene_id}/truth.tif"


def scored(scoring_id: int, scene_id: int, what: str) -> str:
    """A map that a scoring left of a scene; ``what`` is ``classes`` or ``entropy``."""
    return f"scorings/{scoring_id}/scene-{scene_id}/{what}.tif"


def scored_part(scoring_id: int, scene_id: int, what: str, stage: int, first_row: int) -> str:
    """The rows of such a map that one shard left, until all are put together."""
    later = f"-stage-{stage}" if stage else ""
    return f"scorings/{scoring_id}/scene-{scene_id}/{what}{later}-from-row-{first_row}.tif"


def prediction(scene_id: int, version: int, fingerprint: str, suffix: str) -> str:
    """A scene as a version predicts it: ``tif`` (class map), ``geojson``, ``gpkg`` or ``shp.zip`` (outlines).

    ``fingerprint`` stands for everything else that shapes the files (`services.delivery.fingerprint`).
    """
    return f"predictions/scene-{scene_id}/version-{version}-{fingerprint}.{suffix}"


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
