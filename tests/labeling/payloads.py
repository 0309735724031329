"""Webhook bodies as Label Studio 1.23.2 sends them, trimmed to what matters, with real masks."""

import base64
import json
from typing import Any

import numpy as np

from labeling.regions import encode_brush, encode_polygon

HEIGHT, WIDTH = 48, 64
LABELS = ["clean ice", "debris-covered ice", "unknown"]


def regions() -> list[dict[str, Any]]:
    """Return a brush mask and a polygon as the page sends them back."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:20, 30:50] = True
    triangle = np.array([[6.4, 4.8], [32.0, 4.8], [32.0, 24.0]])
    return [
        {**encode_brush(mask, "clean ice", "3_fuEE9CHY"), "origin": "prediction"},
        {**encode_polygon(triangle, "unknown", HEIGHT, WIDTH, "_FfrU-gJ76"), "origin": "manual"},
    ]


def annotation(**changes: Any) -> dict[str, Any]:
    return {
        "id": 107,
        "result": regions(),
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-11-21T09:10:54.390960Z",
        "updated_at": "2026-11-21T09:10:54.391039Z",
        "draft_created_at": None,
        "lead_time": 3.795,
        "prediction": {"id": 524, "model_version": "v1", "score": 0.5, "result": regions()},
        "result_count": 2,
        "unique_id": "188747bc-2bb8-4e97-abf9-8091d99f6374",
        "task": 188,
        "project": 15,
        "completed_by": 2,
        "updated_by": 2,
        "parent_prediction": 524,
        "parent_annotation": None,
        **changes,
    }


def task(**changes: Any) -> dict[str, Any]:
    return {
        "id": 188,
        "data": {"proposal": "r1-p3", "patch_id": 3, "priority": 1},
        "updated_at": "2026-11-21T09:10:54.486819Z",
        "is_labeled": True,
        "total_annotations": 1,
        "project": 15,
        **changes,
    }


def saved(action: str = "ANNOTATION_CREATED", **changes: Any) -> dict[str, Any]:
    return {"action": action, "annotation": annotation(**changes), "project": {"id": 15}, "task": task()}


def body(payload: object) -> bytes:
    return json.dumps(payload).encode()


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header with which Label Studio logs in to a machine learning backend."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def click(
    label: str, x_percent: float, y_percent: float, side_px: int, region_id: str = "5Q7EHWS-Fh"
) -> dict[str, Any]:
    """Return a smart keypoint as the page sends it."""
    return {
        "original_width": side_px,
        "original_height": side_px,
        "image_rotation": 0,
        "value": {"x": x_percent, "y": y_percent, "width": 0.46, "labels": [label], "keypointlabels": [label]},
        "is_positive": True,
        "id": region_id,
        "from_name": "click",
        "to_name": "img",
        "type": "keypointlabels",
        "origin": "manual",
    }


def click_request(
    proposal: str, x_percent: float, y_percent: float, label: str, side_px: int, region_id: str = "5Q7EHWS-Fh"
) -> dict[str, Any]:
    """Return the body with which Label Studio asks for what a click suggests."""
    asked = {**task(), "data": {"proposal": proposal}, "annotations": [], "drafts": [], "predictions": []}
    context = {"result": [click(label, x_percent, y_percent, side_px, region_id)]}
    return {
        "tasks": [asked],
        "project": "6.1795650901",
        "label_config": "<View/>",
        "params": {"login": None, "password": None, "context": context},
    }
