"""Describe the nodata number of each band, flags, and DEM tiles in scenes; add what was recognised about a scene."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

scenes = sa.table(
    "scenes",
    sa.column("id", sa.Integer),
    sa.column("state", sa.String),
    sa.column("error", sa.String),
    sa.column("source", sa.JSON),
)

# Bands of flags and categories by which release 0006 knew them, in lower case (`imagery.sensors.holds_flags` then).
FLAGS = frozenset({"quality", "qa_pixel", "bqa", "qa_radsat", "sr_cloud_qa", "sr_qa_aerosol", "scl", "qa60"})
REASON = "a newer release registered this scene with units, flags or tiles that this release cannot read"


def upgrade() -> None:
    op.add_column("scenes", sa.Column("product", sa.JSON(), nullable=True))
    connection = op.get_bind()
    for scene_id, source in connection.execute(sa.select(scenes.c.id, scenes.c.source)).all():
        connection.execute(sa.update(scenes).where(scenes.c.id == scene_id).values(source=describe_anew(source)))


def downgrade() -> None:
    connection = op.get_bind()
    for scene_id, source in connection.execute(sa.select(scenes.c.id, scenes.c.source)).all():
        changes: dict[str, Any] = {"source": describe_as_before(source)}
        if says_more_than_before(source):  # the older release would read other numbers, and say nothing
            changes |= {
                "state": sa.case((scenes.c.state == "removed", "removed"), else_="rejected"),
                "error": REASON,
            }
        connection.execute(sa.update(scenes).where(scenes.c.id == scene_id).values(changes))
    op.drop_column("scenes", "product")


def describe_anew(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scene's source in the form of this revision; what it does not say has the default value."""
    kept = {key: value for key, value in source.items() if key not in {"bands", "nodata", "dem"}}
    flags = [band for band in source["bands"] if band["name"].lower() in FLAGS]
    measured = [band for band in source["bands"] if band not in flags] or source["bands"]  # a scene has a band
    dem, nodata = source.get("dem"), source.get("nodata")
    return {
        "bands": [band if nodata is None else {**band, "nodata": nodata} for band in measured],
        "quality": [band for band in flags if band not in measured],
        "dem": None if dem is None else {"tiles": [{**dem, "unit": "m"}]},
        **kept,
    }


def describe_as_before(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scene's source in the form of revision 0006."""
    fields = ("bands", "quality", "extras", "dem", "level")
    kept = {key: value for key, value in source.items() if key not in fields}
    bands = [*source["bands"], *source.get("quality", ())]
    nodata = next((band["nodata"] for band in bands if band.get("nodata") is not None), None)
    dem = source.get("dem")
    return {
        "bands": [_place(band) for band in bands],
        "nodata": nodata,
        "dem": None if dem is None else _place(dem["tiles"][0]),
        **kept,
    }


def says_more_than_before(source: Mapping[str, Any]) -> bool:
    """Return whether revision 0006 has no words for something that decides which values are read."""
    bands, dem = source["bands"], source.get("dem")
    tiles = dem["tiles"] if dem else []
    converted = any((band.get("scale", 1), band.get("offset", 0)) != (1, 0) for band in (*bands, *tiles))
    masked = any(band.get("table") or band.get("masked") for band in source.get("quality", ()))
    voids = any(tile.get("nodata") is not None for tile in tiles)
    nodata = len({band.get("nodata") for band in bands}) > 1
    return bool(converted or masked or voids or nodata or len(tiles) > 1 or source.get("extras") or source.get("level"))


def _place(raster: Mapping[str, Any]) -> dict[str, Any]:
    return {key: raster[key] for key in ("name", "path", "index")}
