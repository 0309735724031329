from pathlib import Path
from urllib.parse import urlsplit

from imagery.classes import GLACIER_SCHEME
from services.example_pictures import examples_of

ROOT = Path(__file__).parents[2] / "al_server"


def test_the_pictures_are_delivered():
    examples = examples_of(GLACIER_SCHEME, "http://al.example:8000/")
    assert len(examples) == 3
    assert all((ROOT / urlsplit(address).path.lstrip("/")).is_file() for address in examples.values())


def test_classes_that_the_pictures_do_not_show_have_none():
    other = GLACIER_SCHEME.model_copy(update={"classes": GLACIER_SCHEME.classes[:2]})
    assert examples_of(other, "http://al.example:8000") == {}
