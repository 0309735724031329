import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import label_events
from benchmarks.label_desk import write_source
from benchmarks.label_events import compare, ingest, receive
from benchmarks.open_loop import Client, at_rate
from imagery.scene_source import SceneSource


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SceneSource]:
    yield write_source(tmp_path_factory.mktemp("scene"))


@pytest.mark.slow
def test_every_webhook_offered_is_answered_and_in_the_ledger(
    source: SceneSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_events, "TASKS", 4)
    static, posted = receive(source, 1, 8, processes=2)
    assert (static["sent"], static["answered"]) == (20, 20)
    assert (posted["sent"], posted["answered"], posted["in the ledger"]) == (8, 8, 8)


@pytest.mark.slow
def test_the_worker_of_a_checkout_ingests_all_events(source: SceneSource) -> None:
    row = ingest(4, source, Path.cwd(), workers=1)
    assert (row["events"], row["requests to Label Studio"]) == (4, 1)


def test_a_ratio_is_to_the_first_request_and_without_an_answer_there_is_no_time() -> None:
    first, second = compare({"static": [0.01, 0.01], "webhook": [0.03, 0.03, float("inf")]})
    assert (second["sent"], second["answered"]) == (3, 2)
    assert (first["x p50"], second["x p50"]) == pytest.approx((1, 3))


def test_seconds_count_from_when_a_request_was_due_although_the_server_stood_still() -> None:
    async def measure() -> list[float]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.readline():
                time.sleep(0.2)  # all stand still, the sender too, so that the others leave late
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            client = Client("127.0.0.1", server.sockets[0].getsockname()[1])
            try:
                return await at_rate(client, lambda _: (b"ask\n",), 4, 100)
            finally:
                await client.close()
                await asyncio.sleep(0.1)  # until the server has seen that

    seconds = asyncio.run(measure())
    assert min(seconds) > 0.18
    assert seconds[3] > 0.5  # due after 0.03 s, and the fourth to be answered
