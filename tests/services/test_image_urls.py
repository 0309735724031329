import re
from urllib.parse import parse_qs, urlsplit

import pytest
from itsdangerous import TimestampSigner

from services.image_urls import ImageUrls
from services.signatures import SignatureError

DAY_S = 86400


def image_urls(key: str = "key") -> ImageUrls:
    return ImageUrls("http://al.example:8000/", key, DAY_S)


def signature_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["signature"][0]


def test_an_address_is_good_for_its_image_again_and_again() -> None:
    urls = image_urls()
    url = urls.url(17, "false-colour")
    assert url.startswith("http://al.example:8000/api/v1/patches/17/composites/false-colour.png?signature=")
    for _ in range(3):
        urls.check(17, "false-colour", signature_of(url))


@pytest.mark.parametrize(("patch_id", "name"), [(18, "false-colour"), (17, "heat")])
def test_a_signature_is_good_for_its_own_image_only(patch_id: int, name: str) -> None:
    urls = image_urls()
    with pytest.raises(SignatureError, match="another image"):
        urls.check(patch_id, name, signature_of(urls.url(17, "false-colour")))


def test_an_address_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = image_urls()
    present = TimestampSigner("key").get_timestamp()
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _self: present - DAY_S + 60)
    still_good = signature_of(urls.url(17, "heat"))
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _self: present - DAY_S - 60)
    expired = signature_of(urls.url(17, "heat"))
    monkeypatch.undo()
    urls.check(17, "heat", still_good)
    with pytest.raises(SignatureError, match="has expired; reload the task"):
        urls.check(17, "heat", expired)


@pytest.mark.parametrize("tampered", ["", "x", "a.b.c", "\x00", "é"])
def test_what_we_did_not_sign_is_refused(tampered: str) -> None:
    with pytest.raises(SignatureError, match="no valid signature"):
        image_urls().check(17, "heat", tampered)


def test_a_changed_payload_and_another_key_are_refused() -> None:
    signature = signature_of(image_urls().url(17, "heat"))
    changed = re.sub("^.", lambda first: "A" if first[0] != "A" else "B", signature)
    for urls, given in ((image_urls(), changed), (image_urls("another key"), signature)):
        with pytest.raises(SignatureError, match="no valid signature"):
            urls.check(17, "heat", given)
