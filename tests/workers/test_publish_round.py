"""What a publication offers scene by scene; the publishing itself is tested with the whole loop."""

from catalog import scorings
from catalog.records import Scene
from services.places import raster_store
from tests.workers.rows import champion, score_pool, tiled
from workers.publish_round import Publication, image_urls


def publication(catalog, *, useful: bool = True) -> Publication:
    with catalog.read() as session:
        scoring = scorings.newest(session)
    store, urls = raster_store(catalog), image_urls(catalog)
    return Publication(catalog, store, urls, scoring, champion().version if useful else None)


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
