"""Run uv with the configuration of pip: ``python tools/uv.py pip install ...``.

uv reads none of pip's files and variables. On a machine whose pip is told to use a mirror, or a folder with the CPU
build of PyTorch, uv alone would ask the public index and take the build with CUDA. Needs the standard library only,
and the Python of an environment that has pip and uv.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

UV = str(Path(sys.prefix) / "bin" / "uv")

# pip's option, uv's variable for it, and what separates several values there.
_VARIABLES = (
    ("index-url", "UV_DEFAULT_INDEX", ""),
    ("extra-index-url", "UV_INDEX", " "),
    ("find-links", "UV_FIND_LINKS", ","),
    ("constraint", "UV_CONSTRAINT", " "),
    ("trusted-host", "UV_INSECURE_HOST", " "),
    ("timeout", "UV_HTTP_TIMEOUT", ""),
    ("retries", "UV_HTTP_RETRIES", ""),
    ("cert", "SSL_CERT_FILE", ""),
    ("client-cert", "SSL_CLIENT_CERT", ""),
    ("proxy", "ALL_PROXY", ""),
)
_SYNONYMS = {"default-timeout": "timeout", "pypi-url": "index-url"}
_PLACES = frozenset({"index-url", "extra-index-url", "find-links"})
# pip lists an option once for each of these sections that sets it. The later ones take precedence.
_SECTIONS = ("global", "install", ":env:")


def read_options() -> dict[str, str]:
    """Return the options that this Python's ``pip install`` takes from its files and variables."""
    listing = [sys.executable, "-m", "pip", "config", "list"]
    return parse_options(subprocess.run(listing, capture_output=True, text=True, check=True).stdout)


def parse_options(listing: str) -> dict[str, str]:
    """Return pip's options by their long names without dashes, from the output of ``pip config list``.

    Args:
        listing: Lines like ``global.timeout='60'``.
    """
    by_section: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listing.splitlines():
        name, equals, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if equals and section in by_section:
            by_section[section][_SYNONYMS.get(option, option)] = ast.literal_eval(value)
    return {option: value for section in _SECTIONS for option, value in by_section[section].items()}


def environment(options: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which uv acts like a pip with these options.

    Args:
        options: Options of pip, see `read_options`.
        environ: The present environment. A variable of uv that is set here keeps its value.
    """
    # pip takes the best version of all indices. A lock with hashes leaves nothing to choose in any case.
    ours = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_PYTHON_DOWNLOADS": "never"}
    for option, variable, separator in _VARIABLES:
        values = options.get(option, "").split()
        if option in _PLACES:
            values = [*_present(option, values)]
        if values:
            ours[variable] = separator.join(values)
    if "proxy" in options:  # these two would take precedence over ALL_PROXY
        ours |= {"HTTP_PROXY": options["proxy"], "HTTPS_PROXY": options["proxy"]}
    of_uv = {name: value for name, value in environ.items() if name.startswith("UV_")}
    return {**environ, **ours, **of_uv}


def arguments(options: Mapping[str, str]) -> list[str]:
    """Return the arguments of uv for those options of pip that no variable of uv stands for."""
    return ["--no-index"] if options.get("no-index", "").lower() in {"1", "true", "yes", "on", "y", "t"} else []


def _present(option: str, places: Iterable[str]) -> Iterator[str]:
    """Yield the addresses and the folders that exist: pip passes over the others, uv would stop."""
    for place in places:
        url = urlsplit(place)
        if url.scheme in {"", "file"}:
            path = Path(url2pathname(url.path)) if url.scheme else Path(place).expanduser()
            if path.is_dir():
                yield place if url.scheme else str(path)
            else:
                print(f"pip's {option} names {place}, which is no folder here: left out.", file=sys.stderr)
        else:
            yield place


def main(command: list[str]) -> None:
    """Become uv, with the configuration of this Python's pip."""
    options = read_options()
    # There is no shell on purpose.
    os.execve(UV, [UV, *command, *arguments(options)], environment(options, os.environ))  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
