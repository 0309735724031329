import pytest

from catalog.errors import ConflictError
from imagery.classes import GLACIER_SCHEME
from tests.land_cover import LAND_COVER
from tests.workers.rows import champion
from workers.label_classes import card_classes, check_classes


def test_a_version_of_these_classes_is_accepted_whatever_their_colours() -> None:
    card = champion().card
    check_classes(card, GLACIER_SCHEME, 1)
    other_colours = tuple(item.model_copy(update={"colour": f"#00000{item.value}"}) for item in GLACIER_SCHEME.classes)
    check_classes(card, GLACIER_SCHEME.model_copy(update={"classes": other_colours}), 1)


def test_a_version_of_other_classes_is_refused_by_both_names() -> None:
    with pytest.raises(ConflictError, match=r"version 4, .*clean ice \(value 1, .*; expected .*snow \(value 1, prec"):
        check_classes(champion().card, LAND_COVER, 4)


def test_a_version_of_another_precedence_is_refused() -> None:
    """Its combined maps and its labels say something else where classes overlap."""
    turned = tuple(item.model_copy(update={"precedence": 3 - item.value}) for item in card_classes(GLACIER_SCHEME)[1:])
    card = champion().card
    with pytest.raises(ConflictError, match=r"clean ice \(value 1, precedence 2\)"):
        check_classes(card.model_copy(update={"label_classes": (card.label_classes[0], *turned)}), GLACIER_SCHEME, 4)
