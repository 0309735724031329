"""What a publication offers scene by scene; the publishing itself is tested with the whole loop."""

from dataclasses import replace

from catalog import scorings
from catalog.records import Scene
from imagery.classes import GLACIER_SCHEME
from services.places import raster_store
from tests.workers.rows import champion, score_pool, tiled
from workers.publish_round import Publication, image_urls, why_undrawn


def publication(catalog, *, useful: bool = True) -> Publication:
    with catalog.read() as session:
        scoring = scorings.newest(session)
    store, urls = raster_store(catalog), image_urls(catalog)
    version = champion().version if useful else None
    return Publication(catalog, store, urls, GLACIER_SCHEME, scoring, version, GLACIER_SCHEME.names)


def scored_and_unscored(catalog, tmp_path) -> tuple[Scene, Scene]:
    """A scene of the pool that the champion has scored, and one that was tiled afterwards."""
    early, _ = tiled(catalog, tmp_path / "early.tif")
    score_pool(catalog, champion())
    late, _ = tiled(catalog, tmp_path / "late.tif", offset_px=400)
    return early, late


def test_a_scene_tiled_after_the_scoring_is_published_without_its_maps(catalog, tmp_path):
    early, late = scored_and_unscored(catalog, tmp_path)
    offered = publication(catalog)
    assert (offered.scoring_of(early).id, offered.drawn_by(early)) == (1, 1)
    assert (offered.scoring_of(late), offered.drawn_by(late)) == (None, None)


def test_a_champion_that_is_not_useful_draws_nothing_but_shows_its_uncertainty(catalog, tmp_path):
    early, _ = scored_and_unscored(catalog, tmp_path)
    offered = publication(catalog, useful=False)
    assert offered.drawn_by(early) is None
    assert offered.scoring_of(early).id == 1
    assert offered.shown_version == "version 1"


def test_before_the_first_scoring_nothing_is_offered(catalog, tmp_path):
    scene, _ = tiled(catalog, tmp_path / "a.tif")
    offered = publication(catalog, useful=False)
    assert (offered.scoring_of(scene), offered.drawn_by(scene)) == (None, None)
    assert offered.shown_version == "no model yet"


def test_a_binary_head_proposes_nothing_and_the_reason_says_why(catalog, tmp_path):
    scored_and_unscored(catalog, tmp_path)
    offered = publication(catalog, useful=False)
    assert why_undrawn(offered) == ""
    binary = replace(offered, class_names=("background", "glacier"))
    assert why_undrawn(binary) == (
        "; no proposal is drawn: model version 1 tells only glacier from background, not the classes to draw"
    )
