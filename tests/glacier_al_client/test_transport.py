"""What is repeated and what is not, against a server that breaks off, refuses and asks to come back."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from al_server.sent_files import READ_S
from catalog.settings import Settings
from glacier_al_client.client import FILE_SILENCE_S, SCENE_SILENCE_S, Client
from glacier_al_client.errors import (
    ChecksumError,
    ClientError,
    ProblemError,
    TokenError,
    UnexpectedAnswerError,
    UnreachableError,
)
from glacier_al_client.transport import Transport, retry_after_s
from glacier_al_client.types import JobAnswer, ReplayAnswer, SceneRequest
from services.contained import START_S

BREAK_OFF = None
Step = tuple[int, dict[str, str], bytes] | None
GOOD: Step = (200, {}, b'{"events": 3}')
PROXY_FAILS: Step = (502, {"Content-Type": "text/html"}, b"<h1>Bad gateway</h1>")
STREAM = {"Content-Type": "text/event-stream"}


@contextmanager
def playing(*steps: Step, delay_s: float = 0.0) -> Iterator[tuple[str, list[str]]]:
    """Answer requests with one step after another; yield the address and what was asked for.

    Args:
        *steps: The answers.
        delay_s: How long the server thinks before each of them.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            heard = self.headers.get("Last-Event-ID")
            asked.append(f"{self.command} {self.path}" + (f" after {heard}" if heard else ""))
            step = steps[len(asked) - 1]
            self.close_connection = True
            time.sleep(delay_s)
            if step is None:
                return
            status, headers, body = step
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 - as http.server looks for them

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, in seconds, which are left out; other threads wait as ever."""
    waits: list[float] = []
    here, sleep = threading.get_ident(), time.sleep

    def note(seconds: float) -> None:
        if threading.get_ident() == here:
            waits.append(seconds)
        else:
            sleep(seconds)

    monkeypatch.setattr(time, "sleep", note)
    return waits


@pytest.mark.parametrize("fault", [BREAK_OFF, PROXY_FAILS, (503, {}, b""), (504, {}, b"")])
def test_what_only_reads_is_repeated(fault: Step, slept: list[float]) -> None:
    with playing(fault, fault, GOOD) as (url, asked), Client(url) as client:
        assert client.get("events", ReplayAnswer).events == 3
    assert asked == ["GET /api/v1/events"] * 3
    assert 0.5 <= slept[0] < 0.75
    assert 1.0 <= slept[1] < 1.5


def test_an_outage_ends_the_attempts(slept: list[float]) -> None:
    with playing(*[PROXY_FAILS] * 4) as (url, asked), Client(url) as client, pytest.raises(ProblemError) as failed:
        client.get("events", ReplayAnswer)
    assert (failed.value.status, failed.value.detail, failed.value.body) == (502, "<h1>Bad gateway</h1>", {})
    assert len(asked) == 4


@pytest.mark.parametrize(("fault", "error"), [(BREAK_OFF, UnreachableError), (PROXY_FAILS, ProblemError)])
def test_what_may_have_taken_effect_is_not_repeated(fault: Step, error: type[Exception], slept: list[float]) -> None:
    with playing(fault) as (url, asked), Client(url) as client, pytest.raises(error):
        client.post("rounds", ReplayAnswer)
    assert asked == ["POST /api/v1/rounds"]
    assert slept == []


def test_a_server_that_names_a_time_is_asked_again_then(slept: list[float]) -> None:
    busy: Step = (503, {"Retry-After": "7"}, b"")
    with playing(busy, GOOD) as (url, asked), Client(url) as client:
        assert client.post("scenes", ReplayAnswer, {}).events == 3
    assert asked == ["POST /api/v1/scenes"] * 2
    assert slept == [7]


def test_a_server_that_names_a_long_time_is_not_waited_for(slept: list[float]) -> None:
    hours: Step = (503, {"Retry-After": "3600"}, b"")
    with playing(hours) as (url, _), Client(url) as client, pytest.raises(ProblemError):
        client.get("events", ReplayAnswer)
    assert slept == []


def test_what_was_never_sent_is_repeated(slept: list[float]) -> None:
    with playing() as (url, _):
        pass  # nobody listens any more
    with Client(url) as client, pytest.raises(UnreachableError, match=r"POST http://127\.0\.0\.1"):
        client.post("rounds", ReplayAnswer)
    assert len(slept) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500])
def test_a_refusal_is_final(status: int, slept: list[float]) -> None:
    with playing((status, {}, b"")) as (url, _), Client(url) as client, pytest.raises(ProblemError):
        client.get("jobs", JobAnswer)
    assert slept == []


SCENE = SceneRequest.model_validate({"name": "a", "role": "pool", "unit": "digital number", "path": "/a.tif"})


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.upload_labels(1, b"SQLite format 3"),
        lambda client: client.describe_scene(SCENE),
        lambda client: client.register_scene(SCENE),
    ],
)
def test_a_server_that_reads_a_file_may_be_silent_for_longer(call: Callable[[Client], object]) -> None:
    with playing((200, {}, b"{}"), delay_s=2.0) as (url, asked), Client(url, timeout_s=1.0) as client:
        with pytest.raises(UnexpectedAnswerError):  # the answer came, and is none of our server
            call(client)
        assert len(asked) == 1


def test_the_server_may_use_up_its_time_for_a_file() -> None:
    assert FILE_SILENCE_S > START_S + READ_S
    assert Settings().scene_check_timeout_s < SCENE_SILENCE_S


def test_the_time_to_come_back_is_a_number_or_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    assert retry_after_s("5") == 5
    assert 18 < (retry_after_s(later) or 0) <= 20
    assert retry_after_s(format_datetime(datetime(2020, 1, 1, tzinfo=UTC))) == 0
    assert [retry_after_s(text) for text in (None, "soon", "")] == [None] * 3


def test_the_server_is_told_what_was_heard_last(slept: list[float]) -> None:
    first = b'retry: 3000\n\n: alive\n\nid: a.b\nevent: changed\ndata: ["jobs", "models"]\n\nevent: other\ndata: 1\n\n'
    second = b'id: a.c\nevent: changed\ndata: ["labels"]\n\n'
    steps: list[Step] = [(200, STREAM, first), BREAK_OFF, (200, STREAM, second), (401, {}, b"")]
    with playing(*steps) as (url, asked), Client(url) as client:
        heard = client.live()
        assert [next(heard) for _ in range(2)] == [{"jobs", "models"}, {"labels"}]
        with pytest.raises(ProblemError, match="Unauthorized"):
            next(heard)
    after = "GET /api/v1/live after"
    assert asked == ["GET /api/v1/live", f"{after} a.b", f"{after} a.b", f"{after} a.c"]
    assert slept == [3, 3, 3]


def test_a_stream_that_breaks_off_is_taken_up_again(slept: list[float]) -> None:
    unfinished: Step = (200, {**STREAM, "Content-Length": "1000"}, b"retry: 1000\n\n")
    with playing(unfinished, (403, {}, b"")) as (url, asked), Client(url) as client, pytest.raises(ProblemError):
        next(client.live())
    assert slept == [1]
    assert len(asked) == 2


def version(number: int) -> bytes:
    """The answer of models/latest, with the checksum of the text ``file``."""
    sha256 = "3b9c358f36f0a31b6ad3e14f309c7cf198ac9246e8316f9ce543d5b19ac02b80"
    return (
        f'{{"version": {number}, "aliases": [], "created_at": "2026-11-26T12:00:00Z", "parent_version": null, '
        '"champion_version": null, "labels": 0, "labels_sha256": "", "simulated_labels": 0, "iou": {}, "gain": {}, '
        '"calibration_error": {}, "verdict": "promoted", "verdict_reason": "", "gate": null, "doubted_labels": [], '
        f'"withdrawals": [], "faults": [], "sha256": {{"model.onnx": "{sha256}"}}}}'
    ).encode()


def test_files_of_a_version_that_was_promoted_meanwhile_are_not_mixed(tmp_path: Path) -> None:
    of_two: Step = (200, {"X-Model-Version": "2"}, b"file")
    with playing((200, {}, version(1)), of_two, (200, {}, version(2)), of_two) as (url, _), Client(url) as client:
        bundle = client.download_latest(tmp_path, ("model.onnx",))
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")] == ["v2/model.onnx"]
    assert bundle.version.version == 2


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    damaged: Step = (200, {"X-Model-Version": "1"}, b"fail")
    told: Step = (200, {}, version(1))
    fault = r"model\.onnx of version 1 has the SHA-256"
    with (
        playing(*[told, damaged] * 3) as (url, _),
        Client(url) as client,
        pytest.raises(ChecksumError, match=fault),
    ):
        client.download_latest(tmp_path, ("model.onnx",))
    assert list(tmp_path.rglob("*.onnx")) == []


def test_a_file_that_breaks_off_is_not_left(tmp_path: Path) -> None:
    target = tmp_path / "map.tif"
    target.write_text("the one of yesterday")
    half: Step = (200, {"X-Model-Version": "1", "Content-Length": "100"}, b"half")
    with playing(half) as (url, _), Client(url) as client, pytest.raises(UnreachableError):
        client.save_prediction(1, target)
    assert target.read_text() == "the one of yesterday"
    assert list(tmp_path.iterdir()) == [target]


PAGE_OF_A_PROXY: Step = (200, {"Content-Type": "text/html; charset=utf-8"}, b"<h1>Log in to the network</h1>")
ELSEWHERE: Step = (302, {"Location": "https://login.example.org/"}, b"")


@pytest.mark.parametrize("step", [PAGE_OF_A_PROXY, ELSEWHERE])
def test_a_page_that_something_else_sends_replaces_no_file(tmp_path: Path, step: Step) -> None:
    target = tmp_path / "map.tif"
    target.write_bytes(b"good")
    with playing(*[step] * 3) as (url, _), Client(url, "t") as client:
        with pytest.raises(UnexpectedAnswerError):
            client.save_prediction(1, target)
        with pytest.raises(UnexpectedAnswerError):
            client.save_area("a", target)
        with pytest.raises(UnexpectedAnswerError):
            list(client.patches(1))
    assert target.read_bytes() == b"good"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("url", "token", "message"),
    [("http://127.0.0.1", "tökén", "letters that no token has"), ("http://[::1", "t", "expected a URL")],
)
def test_what_can_be_no_address_or_token_is_said(url: str, token: str, message: str) -> None:
    with pytest.raises(ClientError, match=message):
        Client(url, token)


@pytest.mark.parametrize("token", ["", " ", "gal_sec ret", "gal_sec\nret", "gal_sec\x7fret"])
def test_what_can_be_no_token_is_not_quoted(token: str) -> None:
    with pytest.raises(TokenError, match="found a token that is empty or has letters that no token has") as refused:
        Client("http://127.0.0.1", token)
    assert "ret" not in str(refused.value)


def test_space_around_a_token_is_none_of_it(slept: list[float]) -> None:
    """As in what was read from a file."""
    with playing(GOOD) as (url, _), Client(url, " gal_secret\n") as client:
        assert client.get("events", ReplayAnswer).events == 3
    assert slept == []


def test_a_header_that_cannot_be_sent_is_neither_repeated_nor_quoted(slept: list[float]) -> None:
    with playing() as (url, asked), pytest.raises(ClientError, match="a header has characters") as refused:
        Transport(url, None, 1.0).request("GET", "/", headers={"X-Key": "secret\n"})
    assert not isinstance(refused.value, UnreachableError)
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__
    assert (asked, slept) == ([], [])
