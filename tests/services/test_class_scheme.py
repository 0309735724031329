import pytest

from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.installation import find_installation, get_installation
from catalog.settings import ClassSchemeSetting
from imagery.classes import GLACIER_SCHEME, ClassScheme
from services.class_scheme import class_scheme, configured_scheme, store_scheme
from tests.catalog_fixtures import add_scene
from tests.land_cover import LAND_COVER, SETTING


def configure(catalog: Catalog, setting: ClassSchemeSetting | None) -> None:
    catalog.settings = catalog.settings.model_copy(update={"class_scheme": setting})


def store(catalog: Catalog) -> ClassScheme:
    with catalog.write() as session:
        return store_scheme(session, catalog.settings)


def test_without_a_setting_it_is_the_glacier_scheme(catalog: Catalog) -> None:
    assert class_scheme(catalog) == store(catalog) == GLACIER_SCHEME


def test_the_setting_counts_until_something_is_stored(catalog: Catalog) -> None:
    configure(catalog, SETTING)
    assert class_scheme(catalog) == LAND_COVER
    configure(catalog, None)
    assert class_scheme(catalog) == GLACIER_SCHEME


def test_what_is_stored_counts_without_the_setting(catalog: Catalog) -> None:
    configure(catalog, SETTING)
    store(catalog)
    configure(catalog, None)
    assert class_scheme(catalog) == store(catalog) == LAND_COVER
    with catalog.read() as session:
        assert find_installation(session).class_scheme == LAND_COVER.model_dump(mode="json")


def test_a_setting_that_contradicts_what_is_stored_is_refused_and_what_is_stored_counts(catalog: Catalog) -> None:
    store(catalog)
    configure(catalog, SETTING)
    with pytest.raises(ConflictError, match=r"snow \(1, #f0f0ff, 9\).*begun with background.*take the setting out, or"):
        store(catalog)
    assert class_scheme(catalog) == GLACIER_SCHEME


def test_an_installation_of_a_release_without_schemes_keeps_the_glacier_scheme(catalog: Catalog) -> None:
    """It has scenes, and nothing stored."""
    with catalog.write() as session:
        add_scene(session)
        get_installation(session)
    configure(catalog, SETTING)
    assert class_scheme(catalog) == GLACIER_SCHEME
    with pytest.raises(ConflictError, match="begun with background"):
        store(catalog)
    configure(catalog, None)
    assert store(catalog) == GLACIER_SCHEME


def test_the_row_of_the_installation_is_made_once(catalog: Catalog) -> None:
    with catalog.write() as session:
        get_installation(session).label_studio_project_id = 7
    store(catalog)
    with catalog.read() as session:
        found = find_installation(session)
        assert (found.label_studio_project_id, found.class_scheme["foreground"]) == (7, "glacier")


def test_a_setting_that_is_no_scheme_says_what_is_wrong(catalog: Catalog) -> None:
    wrong = [{**item, "colour": "blue"} if item["value"] == 1 else item for item in SETTING["classes"]]
    configure(catalog, {**SETTING, "classes": wrong})
    with pytest.raises(ConflictError, match=r"GLACIER_AL_CLASS_SCHEME that is no class scheme: classes\.1\.colour: "):
        configured_scheme(catalog.settings)
