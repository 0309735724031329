"""Reading a STAC item: a local file, or an address that the caller has permitted."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pystac
import requests
from urllib3.exceptions import HTTPError

from imagery.errors import SceneError

Permit = Callable[[str], str]
"""Takes an absolute local path or an http address; returns what may be opened, or raises SceneError."""

_LARGEST_ITEM_BYTES: Final = 8 << 20
_SECONDS: Final = 30


def is_http(href: str) -> bool:
    """Return whether this is an http or https address."""
    return href.lower().startswith(("http://", "https://"))


def local_files_only(href: str) -> str:
    """Permit every local file and no address: the rule for a user at the machine.

    Raises:
        SceneError: It is an address.
    """
    if is_http(href):
        raise SceneError(
            f"found the address {href}; expected a local file: addresses are read only where this is permitted"
        )
    return href


def read_item(href: str, permit: Permit) -> pystac.Item:
    """Return the STAC item in a JSON file, which may be the only one in the answer to a search.

    The link "self" of a local item becomes "canonical": its relative addresses mean files beside it, if there are any.

    Args:
        href: A local path or an http address, not yet checked by `permit`.
        permit: Decides what may be read.

    Raises:
        SceneError: It may not be read, cannot be, or is no STAC item.
    """
    text = _fetch(permit(href)) if is_http(href) else _load(permit(str(Path(href).absolute())))
    try:
        document = json.loads(text)
        json.dumps(document, ensure_ascii=False).encode()  # JSON may name halves of characters, which no text holds
    except (ValueError, RecursionError) as error:
        raise SceneError(f"{href}: found no readable JSON ({error}); expected a STAC item") from error
    document = _only_feature(href, document)
    kind = document.get("type") if isinstance(document, dict) else type(document).__name__
    if kind != "Feature" or "assets" not in document or "stac_version" not in document:
        raise SceneError(
            f"{href}: found JSON of the type {kind!r}; expected a STAC item (a Feature with stac_version and assets)"
        )
    try:
        links = [
            {**link, "rel": "canonical"} if link.get("rel") == "self" and not is_http(href) else link
            for link in document.get("links", [])
        ]
        item = pystac.Item.from_dict({**document, "links": links})
        item.set_self_href(href if is_http(href) else str(Path(href).absolute()))
        _check_kinds(item)
    except (pystac.STACError, ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SceneError(f"{href}: found no readable STAC item ({type(error).__name__}: {error})") from error
    return item


def _check_kinds(item: pystac.Item) -> None:
    """Check the kinds of the values that pystac takes as they are.

    Raises:
        TypeError: One is of another kind than the specification says.
        ValueError, OverflowError: A period begins on no date.
    """
    texts = {"id": item.id}
    for key, asset in item.assets.items():
        texts[f"type of the asset {key!r}"] = asset.media_type or ""
        roles = asset.roles or []
        if not isinstance(roles, list):
            raise TypeError(f"found the roles {roles!r} of the asset {key!r}; expected a list")
        texts |= {f"role {place} of the asset {key!r}": role for place, role in enumerate(roles)}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise TypeError(f"found the {name} {text!r}; expected text")
    start = item.properties.get("start_datetime")
    if item.datetime is None and start is not None:
        pystac.utils.str_to_datetime(start)


def _only_feature(href: str, document: Any) -> Any:
    """Return the item of a collection of one, as a search answers; other documents as they are.

    Raises:
        SceneError: There are several items.
    """
    if not isinstance(document, dict) or document.get("type") != "FeatureCollection":
        return document
    features = document.get("features")
    items = [item for item in features if isinstance(item, dict)] if isinstance(features, list) else []
    if not any("stac_version" in item for item in items):
        return document  # not an answer of a search: outlines, for example
    if len(items) > 1:
        listed = ", ".join([*(str(item.get("id")) for item in items[:5]), *(["..."] if len(items) > 5 else [])])
        raise SceneError(
            f"{href}: found {len(items)} features ({listed}); expected one STAC item: save each as a file of its own, "
            "for example with jq '.features[0]'"
        )
    return items[0]


def _load(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return _limited(path, file.read(_LARGEST_ITEM_BYTES + 1))
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error}); expected a STAC item") from error


def _fetch(href: str) -> bytes:
    """Fetch an item; a redirection is refused, as it may lead to an address that was not permitted."""
    try:
        # Not compressed: a few kilobytes could expand to any size.
        plain = {"Accept-Encoding": "identity"}
        with requests.get(href, timeout=_SECONDS, headers=plain, allow_redirects=False, stream=True) as response:
            if response.status_code != requests.codes.ok:
                raise SceneError(f"{href}: found the answer {response.status_code}; expected 200 and a STAC item")
            return _limited(href, response.raw.read(_LARGEST_ITEM_BYTES + 1, decode_content=False))
    except (requests.RequestException, HTTPError) as error:  # HTTPError: while the content is read
        raise SceneError(f"{href}: cannot be fetched ({error}); expected a STAC item") from error


def _limited(href: str, content: bytes) -> bytes:
    if len(content) > _LARGEST_ITEM_BYTES:
        raise SceneError(f"{href}: found more than 8 MiB; expected a STAC item")
    return content


def asset_path(item: pystac.Item, asset: pystac.Asset, permit: Permit) -> str:
    """Return what GDAL takes to open an asset.

    Raises:
        SceneError: Its address is none or of a kind that is not read, or not permitted, or no file is there.
    """
    try:
        return _permitted_path(item, asset, permit)
    except SceneError:
        raise
    except (pystac.STACError, OSError, ValueError) as error:
        raise SceneError(
            f"{item.get_self_href()}: found the asset address {asset.href!r}, which cannot be read "
            f"({getattr(error, 'strerror', None) or error}); expected a local file, or an http address"
        ) from error


def _permitted_path(item: pystac.Item, asset: pystac.Asset, permit: Permit) -> str:
    own = item.get_self_href() or ""
    href = (asset.get_absolute_href() or asset.href).removeprefix("file://")
    if not is_http(href) and not _is_local(href, own):
        href = next((other for other in _alternates(asset, own) if is_http(other) or _is_local(other, own)), href)
    if is_http(href):
        return f"/vsicurl/{permit(href)}"
    if not _is_local(href, own):
        raise SceneError(
            f"{own}: found the asset address {asset.href!r}; expected a local file, or an http address: download the "
            "files, or use an item with http addresses"
        )
    path = permit(href)
    if Path(path).is_file():
        return path
    canonical = item.get_single_link("canonical")
    if canonical and is_http(canonical.href) and not asset.href.startswith("/"):
        return f"/vsicurl/{permit(pystac.utils.make_absolute_href(asset.href, canonical.href))}"
    raise SceneError(f"{own}: found no file {asset.href!r} that the item names; expected it beside the item")


def _is_local(href: str, own: str) -> bool:
    """Return whether an address is that of a file beside a local item."""
    return "://" not in href and not href.startswith("/vsi") and not is_http(own)


def _alternates(asset: pystac.Asset, own: str) -> list[str]:
    """Return the other addresses of an asset, as the extension "alternate" states them."""
    stated = asset.extra_fields.get("alternate")
    found = [item.get("href") for item in stated.values() if isinstance(item, dict)] if isinstance(stated, dict) else []
    return [pystac.utils.make_absolute_href(href, own) for href in found if isinstance(href, str)]


def bands_of_asset(asset: pystac.Asset) -> list[Mapping[str, Any]]:
    """Return the bands of an asset, each with `name`, `common_name`, `scale`, `offset` and `nodata` where stated.

    They are in `bands` (STAC 1.1), or in `eo:bands` and `raster:bands` (1.0).
    """
    fields = asset.extra_fields
    if isinstance(fields.get("bands"), list):
        return [_plain(band, asset) for band in fields["bands"] if isinstance(band, Mapping)]
    optical, raster = (_list(fields.get(key)) for key in ("eo:bands", "raster:bands"))
    count = max(len(optical), len(raster))
    return [
        _plain({**(raster[i] if i < len(raster) else {}), **(optical[i] if i < len(optical) else {})}, asset)
        for i in range(count)
    ]


def _list(value: Any) -> Sequence[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _plain(band: Mapping[str, Any], asset: pystac.Asset) -> Mapping[str, Any]:
    """A band without the prefixes of extensions; what it lacks comes from its asset (STAC 1.1)."""
    keys = ("nodata", "raster:scale", "raster:offset")
    inherited: dict[str, Any] = {key: asset.extra_fields[key] for key in keys if key in asset.extra_fields}
    return {key.rpartition(":")[2]: value for key, value in (inherited | dict(band)).items()}
