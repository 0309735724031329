"""A scheme of other classes than glaciers', for tests: snow (1) wins over water (2), against the order of values."""

from typing import Any

from imagery.classes import ClassScheme

SETTING: dict[str, Any] = {
    "classes": [
        {"name": "other", "value": 0, "colour": "#101010"},
        {"name": "snow", "value": 1, "colour": "#f0f0ff", "precedence": 9},
        {"name": "water", "value": 2, "colour": "#1d4ed8", "precedence": 4},
    ],
    "unknown": {"name": "cloud", "value": 255, "colour": "#aaaaaa"},
    "foreground": "water or snow",
}
LAND_COVER = ClassScheme.model_validate(SETTING)
