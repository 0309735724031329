"""The class scheme of this installation: the stored scheme applies, and a setting that contradicts it is refused.

The scheme is stored when the first scene is registered. An installation made by a release without schemes uses the
glacier scheme, and stores it with its next scene or fine-tune.
"""

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.installation import find_installation, get_installation
from catalog.records import Scene
from catalog.settings import Settings
from imagery.classes import GLACIER_SCHEME, ClassScheme


def class_scheme(catalog: Catalog) -> ClassScheme:
    """Return the classes of this installation."""
    with catalog.read() as session:
        return scheme_in_force(session, catalog.settings)


def scheme_in_force(session: Session, settings: Settings) -> ClassScheme:
    """Return the class scheme in force: the stored one or, before the first scene, the configured one.

    Raises:
        ConflictError: nothing is stored, and the setting is not a valid class scheme.
    """
    stored = find_installation(session)
    if stored is not None and stored.class_scheme is not None:
        return ClassScheme.model_validate(stored.class_scheme)
    if session.scalar(select(Scene.id).limit(1)) is not None:
        return GLACIER_SCHEME  # registered by a release that had no other scheme
    return configured_scheme(settings) or GLACIER_SCHEME


def agreed_scheme(session: Session, settings: Settings) -> ClassScheme:
    """Return the class scheme in force, after checking that the setting does not contradict it.

    Raises:
        ConflictError: the setting contradicts what is stored, or is no class scheme.
    """
    in_force, configured = scheme_in_force(session, settings), configured_scheme(settings)
    if configured is not None and configured != in_force:
        raise ConflictError(
            f"found the classes {_described(configured)} in GLACIER_AL_CLASS_SCHEME, but this installation was begun "
            f"with {_described(in_force)}, which its labels and models are made of; expected these: take the setting "
            "out, or begin anew with other classes in an empty GLACIER_AL_VAR_DIR"
        )
    return in_force


def store_scheme(session: Session, settings: Settings) -> ClassScheme:
    """Store the classes of this installation, unless they are stored already, and return them.

    Args:
        session: a writing session.
        settings: the settings.

    Raises:
        ConflictError: the setting contradicts what is stored, or is no class scheme.
    """
    agreed = agreed_scheme(session, settings)
    installation = get_installation(session)
    if installation.class_scheme is None:
        installation.class_scheme = agreed.model_dump(mode="json")
    return agreed


def configured_scheme(settings: Settings) -> ClassScheme | None:
    """Return the classes that the setting ``class_scheme`` describes; None if it is not set.

    Raises:
        ConflictError: it is no class scheme.
    """
    if settings.class_scheme is None:
        return None
    try:
        return ClassScheme.model_validate(settings.class_scheme)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'class_scheme'}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        )
        raise ConflictError(f"found a GLACIER_AL_CLASS_SCHEME that is no class scheme: {faults}") from error


def _described(scheme: ClassScheme) -> str:
    classes = ", ".join(f"{item.name} ({item.value}, {item.colour}, {item.precedence})" for item in scheme.legend)
    return f"{classes}, together {scheme.foreground} [name (value, colour, precedence)]"
