from flask.testing import FlaskClient

from catalog import set_aside
from catalog.context import Catalog
from catalog.set_aside import Kind
from tests.catalog_fixtures import as_role


def test_what_is_set_aside_is_listed_shown_and_counted(client: FlaskClient, catalog: Catalog) -> None:
    reader = as_role(catalog, "reader")
    with catalog.database.write() as session:
        set_aside.set_aside(session, Kind.SCENE, "Langtang", "/scenes/a.tif: found no such file", 4)
        set_aside.set_aside(session, Kind.LABEL, "label 17", "its mask is damaged", 17)
        row = set_aside.find(session, Kind.LABEL, "label 17")
        assert row is not None
        set_aside.end(row, "its mask is whole again")
    all_of_it = client.get("/api/v1/set-aside", headers=reader).json
    assert [(row["kind"], row["name"], row["outcome"]) for row in all_of_it] == [
        ("label", "label 17", "its mask is whole again"),
        ("scene", "Langtang", None),
    ]
    (standing,) = client.get("/api/v1/set-aside?standing=true", headers=reader).json
    assert standing["reason"] == "/scenes/a.tif: found no such file"
    assert standing["advice"].startswith("Put back the file that the reason names")
    page = client.get("/", headers=reader).get_data(as_text=True)
    assert "Langtang" in page
    assert standing["advice"] in page
    assert "label 17" not in page
    metrics = client.get("/metrics", headers=reader).get_data(as_text=True)
    assert 'glacier_al_set_aside{kind="scene"} 1.0' in metrics
    assert 'glacier_al_set_aside{kind="label"} 0.0' in metrics
