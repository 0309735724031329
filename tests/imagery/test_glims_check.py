"""A submission of this program passes; each requirement is missed once, and found."""

import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from shapely.geometry import Polygon, box

from imagery.area_interval import AreaInterval
from imagery.errors import ExportError
from imagery.glims import CODES, DEBRIS, GLACIERS, IMAGES, RGI, SESSION, LineType
from imagery.glims_check import check_submission
from imagery.glims_findings import ERROR, WARNING
from imagery.glims_layers import Analysis, Analyst, Image, Layer, shorten, submission_layers, write_shapefiles
from imagery.glims_outlines import GlacierOutlines, outline_glaciers
from imagery.grid import Grid
from imagery.shapefile_rings import read_rings
from tests.imagery.forge import NORTH_UP, UTM_45N

GRID = Grid(UTM_45N, NORTH_UP, width=60, height=50)
Layers = dict[str, Layer]


@pytest.fixture(scope="module")
def outlines() -> GlacierOutlines:
    mask = np.zeros((50, 60), np.uint8)
    mask[5:25, 10:30] = CODES[LineType.GLACIER]
    mask[12:15, 20:24] = 0
    mask[25:35, 12:20] = CODES[LineType.DEBRIS]
    mask[5:25, 40:55] = CODES[LineType.GLACIER]
    return outline_glaciers(mask, GRID)


@pytest.fixture(scope="module")
def layers(outlines: GlacierOutlines) -> Layers:
    image = Image(
        "LE71400412000304SGS00", "ETM+", "Landsat 7", date(2000, 10, 30), GRID.footprint_wgs84(), GRID.centre_wgs84()
    )
    analysis = Analysis(
        day=date(2026, 1, 2),
        analysts=(Analyst("Nøstlinger", "Ada", "An institute"), Analyst("Rao", "Ila", "Another")),
        process="U-Net version 3; 25% of the ice judged by experts",
        model_version=3,
        software="glacier-al 0",
        loc_unc_m=np.full((2, 2), 24.0),
        glob_unc_m=12.0,
        expert_share=np.array([0.25, 0.0]),
        glacier_areas=[None, AreaInterval(0.4, 0.3, 0.6)],
        other_areas=[None] * len(outlines.others),
        analysts_of=["Nøstlinger, Ada", "Nøstlinger, Ada; Rao, Ila"],
        day_of=[date(2025, 6, 30), date(2026, 1, 2)],
    )
    terrain = {name: np.array([5000.0, np.nan]) for name in ("zmin_m", "zmed_m", "zmean_m", "zmax_m", "slope_deg")}
    return submission_layers(outlines, image, analysis, "khumbu", terrain)


@pytest.fixture(scope="module")
def whole(layers: Layers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("submission")
    write_shapefiles(folder, layers)
    return folder


def rewritten(whole: Path, folder: Path, layers: Layers, changed: Layers) -> Path:
    """Copy a submission and write those of its layers anew that were changed."""
    shutil.copytree(whole, folder)
    write_shapefiles(folder, {name: layer for name, layer in changed.items() if layer is not layers[name]})
    return folder


def found_in(folder: Path) -> list[tuple[str, str, str]]:
    return [(finding.severity, finding.layer, finding.message) for finding in check_submission(folder)]


def changed(layers: Layers, layer: str, **fields: Any) -> Layers:
    """Change columns of a layer: None takes one out; `geometries` changes the outlines."""
    item = layers[layer]
    geometries = fields.pop("geometries", item.geometries)
    columns = {name: column for name, column in item.fields.items() if fields.get(name, ...) is not None}
    columns |= {name: np.array(column) for name, column in fields.items() if column is not None}
    return {**layers, layer: replace(item, geometries=geometries, fields=columns)}


def objects(*geometries: Any) -> np.ndarray:
    array = np.empty(len(geometries), dtype=object)
    array[:] = geometries
    return array


def test_a_submission_of_this_program_passes(whole: Path) -> None:
    assert found_in(whole) == []


def test_the_layers_hold_what_glims_and_rgi_ask_for(layers: Layers) -> None:
    glaciers = layers[GLACIERS].fields
    assert glaciers["line_type"].tolist() == ["glac_bound"] * 2
    assert glaciers["src_date"].tolist() == ["2000-10-30"] * 2
    assert glaciers["anlys_time"].tolist() == ["2025-06-30", "2026-01-02"]
    assert layers[DEBRIS].fields["anlys_time"].tolist() == ["2025-06-30"]  # it lies on the first glacier
    assert layers[SESSION].fields["anlys_time"].tolist() == ["2026-01-02"] * 2
    assert glaciers["area"] == pytest.approx([468 * 0.0009, 300 * 0.0009], rel=2e-3)
    assert glaciers["debris_km2"] == pytest.approx([80 * 0.0009, 0], rel=2e-3)
    assert glaciers["exp_share"].tolist() == [0.25, 0.0]
    assert layers[DEBRIS].fields["glac_id"].tolist() == [glaciers["glac_id"][0]]
    assert layers[SESSION].fields["anlst_surn"].tolist() == ["Nøstlinger", "Rao"]
    assert layers[IMAGES].fields["orig_id"].tolist() == ["LE71400412000304SGS00"]
    assert layers[RGI].fields["utm_zone"].tolist() == [45, 45]
    assert layers[RGI].fields["zmin_m"][0] == 5000
    for layer in layers.values():
        assert all(len(name) <= 10 for name in layer.fields)
        assert {len(column) for column in layer.fields.values()} == {len(layer.geometries)}


def test_texts_are_cut_at_254_bytes_and_not_within_a_character() -> None:
    assert shorten("short") == "short"
    cut = shorten("é" * 200)
    assert cut.endswith("é...")
    assert len(cut.encode()) <= 254


def no_field(layer: str, field: str) -> Callable[[Layers], Layers]:
    return lambda layers: changed(layers, layer, **{field: None})


def beyond_its_glacier(layers: Layers) -> Layers:
    moved = shapely.affinity.translate(layers[DEBRIS].geometries[0], 0.005)
    return changed(layers, DEBRIS, geometries=objects(moved), area=layers[DEBRIS].fields["area"])


def overlapping(layers: Layers) -> Layers:
    first, _ = layers[GLACIERS].geometries
    second = shapely.affinity.translate(first, 0.001)
    area = layers[GLACIERS].fields["area"][0]
    return changed(layers, GLACIERS, geometries=objects(first, second), area=[area, area])


def bow_tie(layers: Layers) -> Layers:
    west, south, east, north = layers[GLACIERS].geometries[1].bounds
    crossed = Polygon([(west, south), (east, north), (east, south), (west, north), (west, south)])
    return changed(layers, GLACIERS, geometries=objects(layers[GLACIERS].geometries[0], crossed))


def rock(layers: Layers, geometry: Any) -> Layers:
    """Add an internal rock to the first glacier, as GLIMS stores them."""
    item = layers[GLACIERS]
    fields = {name: column[[0, 1, 0]].copy() for name, column in item.fields.items()}
    fields["line_type"][2] = fields["category"][2] = "intrnl_rock"
    fields["area"][2] = np.nan
    return {**layers, GLACIERS: replace(item, geometries=objects(*item.geometries, geometry), fields=fields)}


def nunatak(layers: Layers) -> Polygon:
    return Polygon(layers[GLACIERS].geometries[0].interiors[0])


TOMORROW = (date.today() + timedelta(days=3)).isoformat()
VIOLATIONS: dict[str, tuple[Callable[[Layers], Layers], str, str, str]] = {
    "no field": (no_field(GLACIERS, "src_date"), ERROR, GLACIERS, "found no field src_date"),
    "no uncertainty": (no_field(GLACIERS, "loc_unc_x"), WARNING, GLACIERS, "found no field loc_unc_x"),
    "no value": (lambda a: changed(a, IMAGES, inst_name=[""]), ERROR, IMAGES, "found no inst_name"),
    "unknown uncertainty": (
        *(lambda a: changed(a, GLACIERS, glob_unc_x=[np.nan, 12.0]), WARNING, GLACIERS, "found no glob_unc_x"),
    ),
    "negative uncertainty": (
        *(lambda a: changed(a, GLACIERS, loc_unc_y=[-1.0, 3.0]), ERROR, GLACIERS, "found a negative loc_unc_y"),
    ),
    "uncertainty as text": (
        *(lambda a: changed(a, GLACIERS, loc_unc_y=["3 m", "3 m"]), ERROR, GLACIERS, "found loc_unc_y as text"),
    ),
    "line type": (
        *(lambda a: changed(a, GLACIERS, line_type=["glacier", "glac_bound"]), ERROR, GLACIERS, "another line_type"),
    ),
    "identifier": (
        *(lambda a: changed(a, GLACIERS, glac_id=["RGI60-15.1", "G086800E28080N"]), ERROR, GLACIERS, "another form"),
    ),
    "same identifier": (
        lambda a: changed(a, GLACIERS, glac_id=[a[GLACIERS].fields["glac_id"][0]] * 2),
        *(ERROR, GLACIERS, "the same glac_id and src_date for two glaciers"),
    ),
    "identifier elsewhere": (
        lambda a: changed(a, GLACIERS, glac_id=[a[GLACIERS].fields["glac_id"][0], "G010000E46000N"]),
        *(WARNING, GLACIERS, "does not cover the place of its glac_id"),
    ),
    "date": (
        *(lambda a: changed(a, GLACIERS, anlys_time=["30.10.2000"] * 2), ERROR, GLACIERS, "found no day of the past"),
    ),
    "future": (
        *(lambda a: changed(a, GLACIERS, anlys_time=[TOMORROW] * 2), ERROR, GLACIERS, "found no day of the past"),
    ),
    "before the image": (
        lambda a: changed(a, GLACIERS, anlys_time=["1999-01-01"] * 2),
        *(ERROR, GLACIERS, "found an analysis before its image"),
    ),
    "image date": (
        *(lambda a: changed(a, IMAGES, acq_time=["2000-10-29"]), ERROR, GLACIERS, "another src_date than the acq_time"),
    ),
    "image not listed": (
        *(
            lambda a: changed(a, IMAGES, orig_id=["another"]),
            ERROR,
            GLACIERS,
            "orig_id that is not in the layer images",
        ),
    ),
    "outside the image": (
        lambda a: changed(a, IMAGES, geometries=objects(box(86.0, 27.0, 86.1, 27.1))),
        *(ERROR, GLACIERS, "outside the footprints of the layer images"),
    ),
    "area": (
        *(
            lambda a: changed(a, GLACIERS, area=[421.2, 0.27]),
            ERROR,
            GLACIERS,
            "an area that is not that of the outline",
        ),
    ),
    "at the edge": (
        lambda a: changed(a, GLACIERS, edge=["Y", "N"]),
        WARNING,
        GLACIERS,
        "ends at the edge of the image",
    ),
    "pseudonym": (
        lambda a: changed(a, SESSION, anlst_surn=["analyst-0123abcd", "Rao"]),
        *(WARNING, SESSION, "no name of a person"),
    ),
    "overlap": (overlapping, ERROR, GLACIERS, "found a glacier that overlaps another"),
    "self-crossing": (bow_tie, ERROR, GLACIERS, "found an outline that crosses or touches itself"),
    "debris elsewhere": (beyond_its_glacier, ERROR, DEBRIS, "found an outline that reaches beyond its glacier"),
    "debris of no glacier": (
        *(
            lambda a: changed(a, DEBRIS, glac_id=["G000001E00001N"]),
            ERROR,
            DEBRIS,
            "whose glac_id is that of no glacier",
        ),
    ),
    "rock elsewhere": (
        lambda a: rock(a, shapely.affinity.translate(nunatak(a), 0.01)),
        *(ERROR, GLACIERS, "found an outline that reaches beyond its glacier"),
    ),
    "no geometry": (
        lambda a: changed(a, GLACIERS, geometries=objects(a[GLACIERS].geometries[0], None)),
        *(ERROR, GLACIERS, "found no geometry; expected a polygon"),
    ),
    "coordinates in metres": (
        lambda a: (
            changed(a, IMAGES, geometries=a[IMAGES].geometries)
            | {DEBRIS: replace(a[DEBRIS], geometries=objects(box(478000, 3100000, 479000, 3101000)))}
        ),
        *(ERROR, DEBRIS, "found coordinates beyond the Earth"),
    ),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_each_violation_is_found(name: str, layers: Layers, whole: Path, tmp_path: Path) -> None:
    change, severity, layer, message = VIOLATIONS[name]
    found = found_in(rewritten(whole, tmp_path / "copy", layers, change(layers)))
    assert [finding for finding in found if finding[:2] == (severity, layer) and message in finding[2]], found
    if severity == WARNING:
        assert not [finding for finding in found if finding[0] == ERROR], found


def test_rock_within_its_glacier_is_no_fault(layers: Layers, whole: Path, tmp_path: Path) -> None:
    folder = rewritten(whole, tmp_path / "copy", layers, rock(layers, nunatak(layers)))
    assert [finding for finding in found_in(folder) if finding[0] == ERROR] == []


def test_a_glacier_is_widened_once_for_all_that_lies_on_it(
    layers: Layers, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty pieces of debris and a rock outcrop: what takes long on a large glacier does not grow with them."""
    item = layers[DEBRIS]
    fields = {name: np.repeat(column, 40) for name, column in item.fields.items()}
    many = {**layers, DEBRIS: replace(item, geometries=np.repeat(item.geometries, 40), fields=fields)}
    folder = rewritten(whole, tmp_path / "copy", layers, rock(many, nunatak(layers)))
    widened: list[Any] = []
    buffer = shapely.buffer

    def counted(geometry: Any, *args: Any, **options: Any) -> Any:
        widened.append(geometry)
        return buffer(geometry, *args, **options)

    monkeypatch.setattr(shapely, "buffer", counted)
    assert [finding for finding in found_in(folder) if finding[0] == ERROR] == []
    assert len(widened) == 3  # the first glacier's area, its exterior, and the footprints of the images


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("session.shp", "found no session.shp"),
        ("images.prj", "found no images.prj"),
        ("glaciers.prj", "found no glaciers.prj"),
    ],
)
def test_a_missing_file_is_found(whole: Path, tmp_path: Path, file: str, message: str) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "copy"))
    (folder / file).unlink()
    assert (ERROR, file.partition(".")[0]) in [finding[:2] for finding in found_in(folder) if message in finding[2]]


def test_another_coordinate_system_is_found(whole: Path, tmp_path: Path) -> None:
    from pyproj import CRS

    folder = Path(shutil.copytree(whole, tmp_path / "copy"))
    (folder / "images.prj").write_text(CRS.from_epsg(32645).to_wkt("WKT1_ESRI"))
    assert [finding[:2] for finding in found_in(folder) if "found the CRS" in finding[2]] == [(ERROR, IMAGES)]


def rings_of(whole: Path) -> list[np.ndarray]:
    return next(iter(read_rings(whole / "glaciers.shp")))


def test_rings_are_read_as_they_are_stored(whole: Path, outlines: GlacierOutlines) -> None:
    exterior, hole = rings_of(whole)
    assert not shapely.LinearRing(exterior).is_ccw
    assert shapely.LinearRing(hole).is_ccw
    assert shapely.Polygon(exterior, [hole]).equals_exact(outlines.wgs84[0], 1e-9, normalize=True)


def with_rings(whole: Path, folder: Path, *rings: np.ndarray) -> Path:
    """Copy a submission whose first glacier has these rings, which GDAL itself would never write."""
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    data = (whole / "glaciers.shp").read_bytes()
    _, words = struct.unpack_from(">2i", data, 100)
    starts = np.cumsum([0, *(len(ring) for ring in rings)])
    points = np.concatenate(rings)
    content = struct.pack("<i4d2i", 5, *points.min(axis=0), *points.max(axis=0), len(rings), len(points))
    content += starts[:-1].astype("<i4").tobytes() + points.astype("<f8").tobytes()
    record = struct.pack(">2i", 1, len(content) // 2) + content
    body = record + data[108 + 2 * words :]
    header = data[:24] + struct.pack(">i", (100 + len(body)) // 2) + data[28:100]
    (folder / "glaciers.shp").write_bytes(header + body)
    index = (whole / "glaciers.shx").read_bytes()
    second = struct.pack(">i", (100 + len(record)) // 2)
    (folder / "glaciers.shx").write_bytes(index[:104] + record[4:8] + second + index[112:])
    return folder


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda outer, hole: (outer[:-1], hole), "found a ring that is not closed"),
        (lambda outer, hole: (outer[::-1], hole), "found a ring that runs the wrong way"),
        (lambda outer, hole: (outer, hole[::-1]), "found a ring that runs the wrong way"),
        (lambda outer, hole: (outer, hole[[0, 1, 0]]), "found a ring of fewer than 4 points"),
        (lambda outer, hole: (outer, hole[[0, 1, 1, 0]]), "found a ring without area"),
    ],
    ids=["not closed", "exterior turned", "hole turned", "too short", "a line"],
)
def test_rings_that_gdal_would_mend_in_silence_are_found(
    whole: Path, tmp_path: Path, broken: Callable[..., tuple[np.ndarray, ...]], message: str
) -> None:
    folder = with_rings(whole, tmp_path / "broken", *broken(*rings_of(whole)))
    assert [finding for finding in found_in(folder) if message in finding[2] and finding[0] == ERROR], found_in(folder)
    sound = with_rings(whole, tmp_path / "sound", *rings_of(whole))
    assert found_in(sound) == []


def test_damaged_and_foreign_files_are_errors_of_ours(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="found no such folder"):
        check_submission(tmp_path / "nowhere")
    folder = Path(shutil.copytree(whole, tmp_path / "copy"))
    data = (folder / "glaciers.shp").read_bytes()
    (folder / "glaciers.shp").write_bytes(data[:-30])
    with pytest.raises(ExportError, match="expected a whole file"):
        check_submission(folder)
    (folder / "glaciers.shp").write_bytes(b'<OGRVRTDataSource><OGRVRTLayer name="a">')
    with pytest.raises(ExportError, match="found another kind of file; expected a shapefile"):
        check_submission(folder)
