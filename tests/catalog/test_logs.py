"""Log lines as text and as JSON, with their fields."""

import json
import logging
import subprocess
import sys
import threading

import pytest

from catalog.logs import JsonFormatter, TextFormatter, bound, fields_of


def record(message: str = "label 3 is stored", **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("workers.ingest_label", logging.INFO, __file__, 1, message, (), None)
    vars(made).update(extra)
    return made


def test_a_line_has_the_fields_of_its_call_and_those_bound_around_it() -> None:
    with bound(job="ab", proposal=None), bound(attempt=2, label=1):
        assert fields_of(record(label=3)) == {"job": "ab", "attempt": 2, "label": 3}
    assert fields_of(record()) == {}


def test_fields_are_bound_in_their_own_thread_only() -> None:
    seen: list[dict[str, object]] = []
    with bound(job="ab"):
        thread = threading.Thread(target=lambda: seen.append(fields_of(record())))
        thread.start()
        thread.join()
    assert seen == [{}]


def test_fields_are_unbound_after_an_error() -> None:
    with pytest.raises(ValueError, match="x"), bound(job="ab"):
        raise ValueError("x")
    assert fields_of(record()) == {}


def test_a_line_for_people_ends_with_its_fields() -> None:
    line = TextFormatter().format(record(label=3, proposals=["a1", "b2"]))
    assert line.endswith("INFO workers.ingest_label label 3 is stored [label=3 proposals=a1,b2]")
    assert TextFormatter().format(record()).endswith("label 3 is stored")


def test_a_message_of_several_lines_and_an_error_are_one_line_of_json() -> None:
    try:
        int("no number")
    except ValueError:
        made = logging.LogRecord("x", logging.ERROR, __file__, 1, "a\nb %s", ("\u00e9",), sys.exc_info())
    line = JsonFormatter().format(made)
    assert "\n" not in line
    found = json.loads(line)
    assert (found["message"], found["level"], found["logger"]) == ("a\nb \u00e9", "ERROR", "x")
    assert found["exception"].startswith("Traceback")
    assert found["exception"].endswith("ValueError: invalid literal for int() with base 10: 'no number'")
    assert found["time"].endswith("+00:00")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_process_logs_in_the_form_of_the_setting(form: str) -> None:
    code = f"import logging; from catalog.logs import configure_logging; configure_logging({form!r}); "
    code += "logging.getLogger('a').info('hello', extra={'label': 3}); logging.getLogger('mlflow').info('chatter')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()
    if form == "json":
        assert json.loads(line)["label"] == 3
    else:
        assert line.endswith("INFO a hello [label=3]")
