"""Error responses hold no keys of files at addresses."""

from typing import Never

from flask import Flask

from al_server.problems import register_error_handlers
from imagery.errors import UnreadableFileError


def test_the_key_in_the_address_of_a_file_is_left_out() -> None:
    app = Flask(__name__)
    register_error_handlers(app)
    path = "/vsicurl/http://me:word@host/b4.tif?sig=KEY"

    def fail() -> Never:
        raise UnreadableFileError(path, f"{path}: found no readable raster; expected a GeoTIFF")

    app.add_url_rule("/", "fail", fail)
    response = app.test_client().get("/")
    assert response.status_code == 422
    assert response.json is not None
    assert response.json["detail"] == "/vsicurl/http://host/b4.tif?…: found no readable raster; expected a GeoTIFF"
