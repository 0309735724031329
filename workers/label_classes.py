"""Compare the class scheme of an installation with the classes of a model card."""

from catalog.errors import ConflictError
from imagery.classes import ClassScheme
from models.card import CardClass, ModelCard


def card_classes(scheme: ClassScheme) -> tuple[CardClass, ...]:
    """Return the classes of a scheme in the form of a model card, background first."""
    return tuple(CardClass(**item.model_dump(include=set(CardClass.model_fields))) for item in scheme.classes)


def check_classes(card: ModelCard, scheme: ClassScheme, version: int) -> None:
    """Refuse a version that was trained on other classes, whose maps and scores would be misread.

    Colours may differ.

    Raises:
        ConflictError: a name, a value or the order of precedence differs.
    """
    expected = card_classes(scheme)
    if [item.name for item in card.label_classes] != [item.name for item in expected] or (
        card.precedence != scheme.ranked
    ):
        raise ConflictError(
            f"found version {version}, which was trained on the classes {_listed(card.label_classes)}; expected the "
            f"classes of this installation, {_listed(expected)}: promote a version that was trained on these, or use "
            "another GLACIER_AL_REGISTERED_MODEL"
        )


def _listed(classes: tuple[CardClass, ...]) -> str:
    return ", ".join(f"{item.name} (value {item.value}, precedence {item.precedence})" for item in classes)
