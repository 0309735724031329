"""Files of scenes that are sent from a browser: a folder for each upload, and its files part by part."""

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from flask_openapi3.models import RawModel
from pydantic import BaseModel, Field

from al_server.context import allow_large_body, current_catalog, json_response
from services import scene_uploads
from services.places import SCENE_UPLOAD_ROUTE
from services.request_types import Body, Closed

api = APIBlueprint("scene_uploads", __name__, url_prefix=SCENE_UPLOAD_ROUTE, abp_tags=[Tag(name="scenes")])

MOST_BYTES = 2**50  # of a number in a request; the setting says what is taken


class FolderRequest(Body):
    """A folder for the files of one upload."""

    name: str = Field(pattern=scene_uploads.FOLDER_NAME, examples=["langtang-2019"])


class FolderAnswer(BaseModel):
    """A folder that takes files."""

    name: str = Field(description="the wanted name, or that with a number if it is taken")
    path: str = Field(description="as a request to register a scene names it")
    part_max_bytes: int = Field(description="largest part of a file in one request")
    file_max_bytes: int = Field(description="largest file")
    keep_days: float = Field(description="days after which it is removed if no scene uses it; 0: never")


class FilePath(Closed):
    """A file of a folder."""

    folder: str = Field(pattern=scene_uploads.FOLDER_NAME)
    name: str = Field(pattern=scene_uploads.FILE_NAME)


class PartQuery(Closed):
    """Which part of a file the body is."""

    offset: int = Field(0, ge=0, le=MOST_BYTES, description="bytes of the file before this part")
    size: int = Field(ge=1, le=MOST_BYTES, description="bytes of the whole file")


class PartBody(RawModel):
    """Bytes of the file."""

    mimetypes: list[str] = ["application/octet-stream"]  # noqa: RUF012 - as the library declares it


class PartAnswer(BaseModel):
    """How much of a file is there."""

    path: str = Field(description="as a request to register a scene names it")
    received: int
    size: int


@api.post("", responses={201: FolderAnswer})
def create_folder(body: FolderRequest) -> Response:
    """Make a folder for the files of one upload, below the scene folder."""
    settings = current_catalog().settings
    name = scene_uploads.create_folder(current_catalog(), body.name)
    answer = FolderAnswer(
        name=name,
        path=f"{scene_uploads.FOLDER}/{name}",
        part_max_bytes=settings.upload_max_bytes,
        file_max_bytes=settings.scene_upload_max_bytes,
        keep_days=settings.scene_upload_keep_days,
    )
    return json_response(answer, 201)


@api.put("/<folder>/<name>", responses={200: PartAnswer})
def send_part(path: FilePath, query: PartQuery, raw: PartBody) -> Response:
    """Write a part of a file. The file can be used when `received` is `size`; the same part may be sent again."""
    allow_large_body()
    done = scene_uploads.receive(current_catalog(), path.folder, path.name, request.stream, query.offset, query.size)
    return json_response(PartAnswer(path=done.path, received=done.received, size=done.size))
