"""Classes are recognised by attribute, shown before they are used, and never guessed."""

from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely

from imagery.class_fields import (
    ClassField,
    check_values,
    describe_fields,
    notes_on_status,
    propose,
    unrecognised_fields,
)
from imagery.classes import GLACIER_SCHEME
from imagery.errors import OutlineError
from imagery.glacier_vocabulary import is_debris_name
from imagery.grid import Grid
from imagery.masks import OutlineLayer, rasterize_outlines
from tests.imagery.forge import NORTH_UP, UTM_45N, write_polygons
from tests.land_cover import LAND_COVER

DATA = Path(__file__).parents[1] / "data"
GRID = Grid(UTM_45N, NORTH_UP, width=160, height=100)
CLEAN, DEBRIS = "clean ice", "debris-covered ice"


def _square(col: int, row: int, side: int = 10) -> shapely.Polygon:
    """A square of pixels, beginning at a column and a row."""
    x, y = NORTH_UP[2] + 30 * col, NORTH_UP[5] - 30 * row
    return shapely.box(x, y - 30 * side, x + 30 * side, y)


def _write(path: Path, squares: list[shapely.Polygon], **fields: list[Any]) -> str:
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array(squares)),
        field_data=[
            np.array(column, None if isinstance(column[0], int | float) else object) for column in fields.values()
        ],
        fields=list(fields),
        geometry_type="Polygon",
        crs=UTM_45N,
    )
    return str(path)


def _row(count: int) -> list[shapely.Polygon]:
    return [_square(15 * place, 0) for place in range(count)]


def _burnt(proposal: ClassField) -> list[int]:
    """Count the pixels of background, clean and debris-covered ice, as proposed."""
    layers = [
        OutlineLayer(proposal.path, None, name, chosen.field, chosen.values)
        if chosen
        else OutlineLayer(proposal.path, None, name)
        for name, chosen in proposal.filters.items()
    ]
    mask = rasterize_outlines(layers, GRID, GLACIER_SCHEME)
    return [int((mask == value).sum()) for value in (0, 1, 2)]


def _proposed(path: str) -> ClassField:
    proposal = propose(path, None, GLACIER_SCHEME)
    assert proposal is not None
    return proposal


@pytest.mark.parametrize(
    ("field", "clean", "debris"),
    [
        ("Glaciers", "Clean Ice", "Debris covered"),  # ICIMOD
        ("CLASS", "clean-ice", "Debris covered ice"),
        ("class", "Clean", "DC"),
        ("type", "clean_ice", "supraglacial debris"),
        ("SURFACE", "bare ice", "Debris-covered glacier"),
        ("line_type", "glac_bound", "debris_cov"),  # GLIMS
        ("debris", "no", "yes"),
        ("DC", 0, 1),
        ("Name", "clean ice", "debris cover"),  # KML has no other field
    ],
)
def test_a_field_that_tells_classes_is_proposed(tmp_path: Path, field: str, clean: Any, debris: Any) -> None:
    path = _write(tmp_path / "a.shp", _row(3), **{field: [clean, debris, debris], "glac_name": ["A", "B", "C"]})
    proposal = _proposed(path)
    assert (proposal.field, proposal.unmapped) == (field, ())
    assert [(item.value, item.features, item.class_name) for item in proposal.values] == [
        (str(debris), 2, DEBRIS),
        (str(clean), 1, CLEAN),
    ]
    assert _burnt(proposal) == [15700, 100, 200]


@pytest.mark.parametrize(
    ("field", "no", "yes"),
    [
        ("debris", CLEAN, DEBRIS),
        ("is_debris", CLEAN, DEBRIS),
        ("DEBRISCOVE", CLEAN, DEBRIS),  # a shapefile cuts names off after ten characters
        ("DC_2017", CLEAN, DEBRIS),
        ("debris_free", DEBRIS, CLEAN),
        ("debrisfree", DEBRIS, CLEAN),
        ("no_debris", DEBRIS, CLEAN),
        ("DC_free", DEBRIS, CLEAN),
    ],
)
@pytest.mark.parametrize("answers", [("no", "yes"), (0, 1), ("F", "T")])
def test_yes_means_debris_unless_the_field_asks_for_ice_without_it(
    tmp_path: Path, field: str, no: str, yes: str, answers: tuple[Any, Any]
) -> None:
    proposal = _proposed(_write(tmp_path / "a.gpkg", _row(2), **{field: list(answers)}))
    assert {item.value: item.class_name for item in proposal.values} == {str(answers[0]): no, str(answers[1]): yes}


@pytest.mark.parametrize(
    "field", ["debris_pct", "debris_perc", "debris_area", "debris_id", "dc_source", "debris_thk", "not_debris_free"]
)
def test_ones_and_zeros_of_another_measure_are_no_answers(tmp_path: Path, field: str) -> None:
    assert propose(_write(tmp_path / "a.gpkg", _row(2), **{field: [0, 1]}), None, GLACIER_SCHEME) is None


@pytest.mark.parametrize(
    "name",
    [
        *("no_debris", "non_debris_glaciers", "glaciers_without_debris", "clean_ice_no_debris"),
        *("clean_and_debris", "debris_flow", "supraglacial_lakes"),
    ],
)
@pytest.mark.parametrize("fields", [{"number": [1]}, {"rgi_id": ["a"]}])
def test_a_name_that_speaks_of_debris_and_of_something_else_tells_no_class(
    tmp_path: Path, name: str, fields: dict[str, list[Any]]
) -> None:
    assert propose(_write(tmp_path / f"{name}.gpkg", _row(1), **fields), None, GLACIER_SCHEME) is None


def test_ice_without_debris_is_clean_where_its_name_is_known(tmp_path: Path) -> None:
    assert _proposed(_write(tmp_path / "debris_free.gpkg", _row(1), number=[1])).class_name == CLEAN


def test_rock_inside_of_glaciers_is_cut_out_and_lakes_on_them_are_not(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "glims_polygons.shp",
        [_square(0, 0), _square(2, 2, 3), _square(6, 6, 2), _square(40, 40)],
        line_type=["glac_bound", "intrnl_rock", "supra_lake", "pro_lake"],
        anlys_id=[1, 1, 1, 1],
    )
    proposal = _proposed(path)
    assert [(item.value, item.class_name, item.ignored) for item in proposal.values] == [
        ("glac_bound", CLEAN, None),
        ("intrnl_rock", "background", None),
        ("supra_lake", None, "lies on the glacier, and takes the class around it"),
        ("pro_lake", "background", None),
    ]
    assert _burnt(proposal) == [16000 - 91, 91, 0]
    assert proposal.notes[0].startswith("recognised as GLIMS")


def test_what_is_not_recognised_is_listed_and_not_guessed(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.gpkg", _row(4), Class=["Clean ice", "rock glacier", "rock glacier", None])
    proposal = _proposed(path)
    assert proposal.unmapped == ("rock glacier", "")
    assert proposal.options() == (
        '--class-field Class --map "rock glacier=CLASS" --map "Clean ice=clean ice" --map "=CLASS"'
    )
    assert proposal.describe() == (
        "field 'Class' tells classes: 'rock glacier' (2) is not recognised; 'Clean ice' (1) is clean ice; "
        "'no value' (1) is not recognised"
    )


@pytest.mark.parametrize(
    ("name", "version"), [("rgi_oetztal", "version 6 or earlier"), ("rgi7g_hef_complex", "Inventory 7")]
)
def test_the_randolph_glacier_inventory_is_whole_glaciers(name: str, version: str) -> None:
    proposal = _proposed(str(DATA / f"{name}.shp"))
    assert (proposal.field, proposal.class_name) == (None, CLEAN)
    (note,) = proposal.notes
    assert version in note
    assert "do not tell debris-covered ice apart" in note


def test_nominal_glaciers_are_noted(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.shp", _row(3), RGIId=["a", "b", "c"], Status=[0, 2, 2])
    assert _proposed(path).notes[1] == "2 nominal glaciers (Status 2), whose outlines are circles: leave them out"


@pytest.mark.parametrize(
    ("layer", "class_name"),
    [("debris", DEBRIS), ("11_rgi60_S2_DC_2015_2017_NDSI", DEBRIS), ("clean_ice", CLEAN), ("Supraglacial", DEBRIS)],
)
def test_a_layer_is_recognised_by_its_name(tmp_path: Path, layer: str, class_name: str) -> None:
    path = write_polygons(tmp_path / "a.gpkg", {layer: _row(1)})
    assert _proposed(str(path)).class_name == class_name
    assert _burnt(_proposed(str(path)))[GLACIER_SCHEME.by_name(class_name).value] == 100


@pytest.mark.parametrize("name", ["adcp", "indebris", "dcx", "outlines"])
def test_a_part_of_another_word_is_no_debris(name: str) -> None:
    assert not is_debris_name(name)


def test_nothing_is_proposed_for_fields_of_other_things(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "a.gpkg", _row(3), term_type=[0, 1, 9], glac_name=["Clean", "Aletsch", "Gorner"], debris=[12, 0, 77]
    )
    assert propose(path, None, GLACIER_SCHEME) is None


def test_other_schemes_are_recognised_by_their_own_names(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.gpkg", _row(3), landcover=["SNOW", "water", "debris"])
    proposal = propose(path, None, LAND_COVER)
    assert proposal is not None
    assert {item.value: item.class_name for item in proposal.values} == {
        "SNOW": "snow",
        "water": "water",
        "debris": None,  # a word of the glacier scheme
    }


@pytest.mark.parametrize(
    ("fields", "chosen"),
    [
        # Whole glaciers leave open whether their ice is covered.
        ({"line_type": ["glac_bound", "glac_bound"], "debris": ["no", "yes"]}, "debris"),
        ({"Type": ["Glacier", "Glacier"], "Cover": ["Clean Ice", "Debris covered"]}, "Cover"),
        # The same twice, and the same where it is told.
        ({"category": ["glac_bound", "debris_cov"], "line_type": ["glac_bound", "debris_cov"]}, "line_type"),
        ({"Type": ["clean", None], "Cover": ["clean ice", "DC"]}, "Cover"),
    ],
)
def test_of_two_fields_the_one_that_tells_more_is_taken(
    tmp_path: Path, fields: dict[str, list[str]], chosen: str
) -> None:
    proposal = _proposed(_write(tmp_path / "a.gpkg", _row(2), **fields))
    assert proposal.field == chosen
    assert _burnt(proposal) == [15800, 100, 100]


@pytest.mark.parametrize(
    ("first", "second", "doubt"),
    [
        (
            ("Type", ["Glacier", "Glacier", "Rock"]),
            ("Cover", ["Clean Ice", "Debris covered", "Clean Ice"]),
            "'Type' is 'Glacier' where 'Cover' is 'Debris covered'",
        ),
        (
            ("debris", ["no", "yes", "no"]),
            ("Type", ["glac_bound", "glac_bound", "intrnl_rock"]),
            "'debris' is 'no' where 'Type' is 'intrnl_rock'",
        ),
        (
            ("Cover", ["Clean Ice", "Debris", "Clean Ice"]),
            ("Class", ["Clean Ice", "Debris", "dirty"]),
            "'Cover' is 'Clean Ice' where 'Class' is 'dirty'",
        ),
    ],
)
def test_two_fields_that_contradict_each_other_are_refused_and_both_shown(
    tmp_path: Path, first: tuple[str, list[str]], second: tuple[str, list[str]], doubt: str
) -> None:
    """Each tells something of a feature that the other does not."""
    with pytest.raises(OutlineError) as raised:
        propose(_write(tmp_path / "a.gpkg", _row(3), **dict([first, second])), None, GLACIER_SCHEME)
    assert f"fields that tell classes differently: {doubt}; field {first[0]!r} tells classes: " in str(raised.value)
    assert f"; field {second[0]!r} tells classes: " in str(raised.value)
    for name in (first[0], second[0]):
        assert f"--class-field {name} --map" in str(raised.value)


@pytest.mark.parametrize("named", [[CLEAN, DEBRIS], [CLEAN]])
def test_a_layer_of_several_classes_is_refused_with_the_proposal(tmp_path: Path, named: list[str]) -> None:
    path = _write(tmp_path / "a.shp", _row(2), Glaciers=["Clean Ice", "Debris covered"])
    with pytest.raises(
        OutlineError,
        match=r"""'Clean Ice' \(1\) is clean ice; .*--class-field Glaciers --map "Clean Ice=clean ice" --map "Debris""",
    ):
        rasterize_outlines([OutlineLayer(path, None, name) for name in named], GRID, GLACIER_SCHEME)


def test_one_layer_for_two_classes_is_refused_without_a_field(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.shp", _row(2), number=[1, 2])
    with pytest.raises(OutlineError, match="one layer named for the classes clean ice, debris-covered ice"):
        rasterize_outlines([OutlineLayer(path, None, name) for name in (CLEAN, DEBRIS)], GRID, GLACIER_SCHEME)


def test_our_own_field_is_a_filter_by_itself_in_any_case(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.shp", _row(2), CLASS=[CLEAN, DEBRIS])  # other software writes fields in capitals
    mask = rasterize_outlines([OutlineLayer(path, None, name) for name in (CLEAN, DEBRIS)], GRID, GLACIER_SCHEME)
    assert [(mask == value).sum() for value in (1, 2)] == [100, 100]


def test_a_filter_names_values_of_any_type(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.gpkg", _row(3), code=[1.0, 2.5, np.nan])
    for value, covered in (("1", 100), ("2.5", 100), ("", 100), ("3", 0)):
        layer = OutlineLayer(path, None, CLEAN, "CODE", (value,))
        assert rasterize_outlines([layer], GRID, GLACIER_SCHEME).sum() == covered


def test_faulty_filters_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.gpkg", _row(1), code=[1])
    with pytest.raises(OutlineError, match=r"a\.gpkg: found no field 'kind' in layer 'a'; expected one of code"):
        rasterize_outlines([OutlineLayer(path, None, CLEAN, "kind", ("1",))], GRID, GLACIER_SCHEME)
    with pytest.raises(OutlineError, match="expected both a field and at least one value"):
        OutlineLayer(path, None, CLEAN, "code")


@pytest.mark.parametrize(
    ("field", "clean", "debris"),
    [
        ("clase", "Glaciar descubierto", "Glaciar cubierto"),
        ("Typ", "Blankeis", "schuttbedeckt"),
        ("NATURE", "glace nue", "glace couverte de débris"),
        ("tipo", "ghiaccio scoperto", "ghiaccio coperto"),
    ],
)
def test_classes_are_recognised_in_the_languages_of_inventories(
    tmp_path: Path, field: str, clean: str, debris: str
) -> None:
    path = _write(tmp_path / "glaciers.gpkg", _row(3), **{field: [clean, clean, debris]})
    proposal = propose(path, None, GLACIER_SCHEME)
    assert proposal is not None
    assert proposal.field == field
    assert _burnt(proposal) == [160 * 100 - 300, 200, 100]


@pytest.mark.parametrize(
    "fields",
    [
        {"tipo": ["buzul", "buzul", "moloz"]},  # Turkish: ice, rubble
        {"class": [1, 1, 2]},
        {"rgi_id": ["a", "b", "c"], "note_2": ["buzul", "buzul", "moloz"]},
    ],
)
def test_a_field_that_is_not_understood_is_told_where_a_name_tells_the_class(
    tmp_path: Path, fields: dict[str, list[Any]]
) -> None:
    proposal = propose(_write(tmp_path / "glaciers.gpkg", _row(3), **fields), None, GLACIER_SCHEME)
    assert proposal is not None
    assert proposal.field is None
    assert f"{list(fields)[-1]} (" in proposal.notes[-1]
    assert "--class-field" in proposal.notes[-1]


def test_fields_of_inventories_and_names_are_not_taken_for_classes(tmp_path: Path) -> None:
    names = ["Langtang", "Lirung", "Yala"]
    fields: dict[str, list[Any]] = {"rgi_id": names, "o2region": ["East", "East", "West"], "src_date": ["a", "a", "b"]}
    for columns in (fields, {"name": names}):
        path = tmp_path / str(len(columns)) / "glaciers.gpkg"
        path.parent.mkdir()
        proposal = propose(_write(path, _row(3), **columns), None, GLACIER_SCHEME)
        assert proposal is not None
        assert not any("--class-field" in note for note in proposal.notes)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"class": [1, 1, 2]}, "class ('1' (2), '2' (1))"),
        ({"GL_CODE": ["GL", "DG", None]}, "GL_CODE ('GL' (1), 'DG' (1), 'no value' (1))"),
        ({"type": ["открытый лед", "под мореной", "горы"]}, "type ('открытый лед' (1), 'под мореной' (1), 'горы' (1))"),
        ({"lx": ["裸冰", "裸冰", "表碛"]}, "lx ('裸冰' (2), '表碛' (1))"),
        ({"cover_km2": [0.25, 1.5, 2]}, None),
        ({"class": [1, 1, 1]}, None),
        ({"name": ["Lirung", "Yala", "Shalbachum"]}, None),
        ({"rgi_id": ["a", "b", "c"], "category": [1, 1, 2]}, None),  # RGI's own
        ({"Glaciers": ["Clean Ice"] * 2 + ["DC"]}, None),  # recognised, and refused elsewhere
    ],
)
def test_fields_that_are_not_recognised_are_told_for_a_class_that_is_named(
    tmp_path: Path, values: dict[str, list[Any]], told: str | None
) -> None:
    notes = unrecognised_fields(_write(tmp_path / "a.gpkg", _row(3), **values), None, GLACIER_SCHEME)
    expected = f"its fields {told} were not recognised: if one tells classes, name it with --class-field and --map"
    assert notes == ([expected] if told else [])


def test_a_further_field_of_codes_is_told_beside_the_one_that_is_recognised(tmp_path: Path) -> None:
    fields = {"Cover": ["clean ice", "debris"], "Class": ["C1", "C2"], "valley": ["Langtang", "Langtang"]}
    (note,) = _proposed(_write(tmp_path / "a.gpkg", _row(2), **fields)).notes
    assert note.startswith("its fields Class ('C1' (1), 'C2' (1)) were not recognised")


@pytest.mark.parametrize(
    ("encoding", "clean", "debris", "language"), [("GBK", "裸冰", "表碛", b"\0"), ("CP1251", "лед", "морена", b"\x57")]
)
def test_texts_of_an_unknown_encoding_are_doubted(
    tmp_path: Path, encoding: str, clean: str, debris: str, language: bytes
) -> None:
    """The .dbf file has the bytes of another encoding in its rows, and no .cpg file tells which."""
    path = tmp_path / "a.shp"
    _write(path, _row(3), type=["clean ", "debris", "debris"])
    table = path.with_suffix(".dbf")
    data = table.read_bytes()
    for old, new in ((b"clean ", clean), (b"debris", debris)):
        data = data.replace(old, new.encode(encoding).ljust(6))
    table.write_bytes(data[:29] + language + data[30:])
    stated = path.with_suffix(".cpg")
    stated.unlink(missing_ok=True)
    doubt = "was read as ISO 8859-1: write the encoding, such as GBK or CP1251, into a .cpg file beside it"
    assert doubt in describe_fields(str(path), None)
    assert doubt in unrecognised_fields(str(path), None, GLACIER_SCHEME)[0]
    with pytest.raises(OutlineError, match=doubt):
        check_values(str(path), None, "type", [clean])
    stated.write_text(encoding)
    check_values(str(path), None, "type", [clean, debris])
    assert describe_fields(str(path), None) == f"its fields and their values: type ({debris!r} (2), {clean!r} (1))"


def test_ascii_needs_no_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.shp"
    _write(path, _row(3), type=["one", "two", "two"])
    path.with_suffix(".cpg").unlink()
    assert describe_fields(str(path), None) == "its fields and their values: type ('two' (2), 'one' (1))"


def test_glaciers_that_are_gone_are_counted_in_a_note_however_the_layer_is_named(tmp_path: Path) -> None:
    """By the status of GLIMS, and by the date; of the third only the date tells it."""
    path = _write(
        tmp_path / "glims_polygons.shp",
        _row(4),
        glac_id=["G1", "G2", "G3", "G4"],
        glac_stat=["exists", "gone", "exists", "Gone"],
        gone_date=[None, "2010-01-01T00:00:00", "2012-01-01", None],
    )
    note = (
        "3 features are of glaciers that are gone (glac_stat, gone_date), and count as ice here: leave out "
        "those that were gone when the image was taken"
    )
    proposal = propose(path, None, GLACIER_SCHEME)
    assert proposal is not None
    assert note in proposal.notes
    assert notes_on_status(path, None, GLACIER_SCHEME) == [note]
    kept = _write(tmp_path / "kept.shp", _row(1), glac_id=["G1"], glac_stat=["exists"], gone_date=[None])
    assert notes_on_status(kept, None, GLACIER_SCHEME) == []


def test_nominal_glaciers_are_counted_in_a_note(tmp_path: Path) -> None:
    path = _write(tmp_path / "rgi60.shp", _row(3), RGIId=["RGI60-1", "RGI60-2", "RGI60-3"], Status=[0, 2, 2])
    assert notes_on_status(path, None, GLACIER_SCHEME) == [
        "2 nominal glaciers (Status 2), whose outlines are circles: leave them out"
    ]
    other = _write(tmp_path / "other.shp", _row(1), Status=[2])
    assert notes_on_status(other, None, GLACIER_SCHEME) == []
