"""Take the pictures of the documentation, ``docs/img``, in a real Chromium.

``python -m tools.screenshots`` looks at the system that runs on the data folder; with ``--up`` it starts that system
first. The system has to serve a version: `make pictures` takes the one that the demo leaves. It logs in as the
administrator and changes nothing.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from catalog.secrets import load_or_create
from catalog.settings import Settings
from cli.demo import running_system
from cli.running import running_settings
from glacier_al_client.client import Client

TARGET: Final = Path(__file__).parents[1] / "docs" / "img"
DESK: Final[ViewportSize] = {"width": 1440, "height": 900}
PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
WINDOW: Final = (0, 0, 128, 128)  # of what is corrected: first row and column, height and width, pixels
_ARGUMENTS: Final = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
_DRAWN_MS: Final = 1500  # for what is drawn after the last request: the curve, outlines
_ADMINISTRATOR: Final = "admin"


class ForeignRequestError(RuntimeError):
    """A page asked another host for something."""


@dataclass(frozen=True)
class Picture:
    """A picture of a page.

    Attributes:
        name: Of the file.
        path: Of the page.
        part: Selector of the part that is shown; None: the window.
        phone: Whether it is seen on a phone, in the dark.
    """

    name: str
    path: str
    part: str | None = None
    phone: bool = False


def pictures(scene: int, version: int) -> list[Picture]:
    """Return the pictures of a system, given a scene of its pool and the version that is served."""
    return [
        Picture("map.jpg", f"/map#scene={scene}"),
        Picture("correct.jpg", f"/map#scene={scene}&correct={','.join(map(str, WINDOW))}"),
        Picture("take-away.png", f"/map#scene={scene}", part='[aria-labelledby="take-title"]'),
        Picture("dashboard.png", "/"),
        Picture("learning-curve.png", "/", part="#learning"),
        Picture("dashboard-phone.png", "/", phone=True),
        Picture("version-page.png", f"/versions/{version}"),
        Picture("add-scene.png", "/scenes/add", part="#scene"),
        Picture("api.png", "/docs"),
    ]


def take_pictures(settings: Settings, target: Path) -> list[Path]:
    """Take all pictures of a running system.

    Args:
        settings: Its settings, with its addresses.
        target: The folder of the pictures.

    Returns:
        The files.

    Raises:
        ClientError: The system serves no version, or does not answer.
        ForeignRequestError: A page asked another host for something.
    """
    secrets, url = load_or_create(settings.secrets_file), settings.api_url
    with TemporaryDirectory() as folder, Client(url, secrets.reader_token) as client:
        version = client.latest().version
        scene = next(scene.id for scene in client.scenes() if scene.role == "pool" and scene.state == "ready")
        client.save_prediction(scene, Path(folder, "outlines"), "geojson")  # so that the map has them at once
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        for picture in pictures(scene, version):
            with _visit(browser, url, secrets.administrator_password, phone=picture.phone) as page:
                taken.append(_take(page, url, picture, target))
        browser.close()
    return taken


@contextmanager
def _visit(browser: Browser, url: str, password: str, *, phone: bool) -> Iterator[Page]:
    """Open a page of a new visitor who has logged in; what it asks of other hosts is an error."""
    context = browser.new_context(
        viewport=PHONE if phone else DESK, color_scheme="dark" if phone else "light", device_scale_factor=1
    )
    page = context.new_page()
    strangers: list[str] = []
    page.on("request", lambda request: None if _is_ours(request.url, url) else strangers.append(request.url))
    page.goto(f"{url}/login")
    page.fill("#name", _ADMINISTRATOR)
    page.fill("#password", password)
    page.click("main button")
    page.wait_for_url(f"{url}/")
    yield page
    context.close()
    if strangers:
        raise ForeignRequestError(f"found requests to other hosts: {', '.join(strangers)}")


def _is_ours(address: str, url: str) -> bool:
    return address.startswith((url, "data:", "blob:"))


def _take(page: Page, url: str, picture: Picture, folder: Path) -> Path:
    page.goto("about:blank")  # else a page that differs by what follows # only is not loaded again
    page.goto(f"{url}{picture.path}")
    page.wait_for_load_state("load")
    page.wait_for_timeout(_DRAWN_MS)
    if picture.path.startswith("/map"):
        page.wait_for_timeout(2 * _DRAWN_MS)
    target = folder / picture.name
    if picture.part is None:
        page.screenshot(path=target)
    else:
        page.locator(picture.part).first.screenshot(path=target)
    return target


@click.command()
@click.option("--up", is_flag=True, help="start the system of the data folder first, and stop it afterwards")
def main(up: bool) -> None:
    """Take the pictures of the documentation."""
    with running_system(Settings().var_dir / "pictures.log") if up else nullcontext():
        for file in take_pictures(running_settings(), TARGET):
            click.echo(file)


if __name__ == "__main__":
    main()
