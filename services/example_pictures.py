"""The pictures of the annotators' instruction, which ``tools/example_pictures.py`` has rendered."""

from imagery.classes import GLACIER_SCHEME, ClassScheme


def examples_of(scheme: ClassScheme, api_url: str) -> dict[str, str]:
    """Return caption to address of the pictures; none for classes other than those of glaciers, which they show."""
    if scheme.names != GLACIER_SCHEME.names:
        return {}
    base = f"{api_url.rstrip('/')}/static/example"
    return {
        "Example in true colour": f"{base}-true-colour.png",
        "In false colour: ice and snow are cyan": f"{base}-false-colour.png",
        "Blue: clean ice. Orange: debris-covered ice. Snow beside the glacier is background.": f"{base}-classes.png",
    }
