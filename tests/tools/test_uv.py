import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools.uv import arguments, environment, parse_options, read_options

UV = Path(__file__).parents[2] / "tools" / "uv.py"


def test_options_come_from_all_sections_and_variables_win():
    listing = """\
:env:.default-timeout='180'
:env:.config-file='/etc/pip.conf'
download.timeout='5'
global.find-links='\\n/wheels\\n/more'
global.index-url='https://one.example/simple'
global.timeout='60'
install.index-url='https://two.example/simple?a=b'
"""
    assert parse_options(listing) == {
        "config-file": "/etc/pip.conf",
        "find-links": "\n/wheels\n/more",
        "index-url": "https://two.example/simple?a=b",
        "timeout": "180",
    }


def test_pip_is_asked_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "pip.conf").write_text(
        "[global]\nextra_index_url =\n    https://one.example\n    https://two.example\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_RETRIES", "7")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    options = read_options()
    assert options["extra-index-url"].split() == ["https://one.example", "https://two.example"]
    assert options["retries"] == "7"


def test_uv_gets_the_places_and_the_connection_of_pip(tmp_path: Path):
    options = {
        "index-url": "https://mirror.example/simple",
        "extra-index-url": f"https://one.example/simple {tmp_path.as_uri()}",
        "find-links": f"{tmp_path} https://two.example/wheels",
        "constraint": "a.txt b.txt",
        "trusted-host": "mirror.example",
        "timeout": "60",
        "retries": "3",
        "cert": "/etc/ca.pem",
        "client-cert": "/etc/me.pem",
        "proxy": "http://proxy.example:3128",
    }
    assert environment(options, {"PATH": "/bin", "HTTPS_PROXY": "http://other.example"}) == {
        "PATH": "/bin",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": f"https://one.example/simple {tmp_path.as_uri()}",
        "UV_FIND_LINKS": f"{tmp_path},https://two.example/wheels",
        "UV_CONSTRAINT": "a.txt b.txt",
        "UV_INSECURE_HOST": "mirror.example",
        "UV_HTTP_TIMEOUT": "60",
        "UV_HTTP_RETRIES": "3",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "SSL_CLIENT_CERT": "/etc/me.pem",
        "ALL_PROXY": "http://proxy.example:3128",
        "HTTP_PROXY": "http://proxy.example:3128",
        "HTTPS_PROXY": "http://proxy.example:3128",
    }


def test_what_a_person_tells_uv_itself_stays():
    made = environment({"index-url": "https://mirror.example/simple"}, {"UV_DEFAULT_INDEX": "https://mine.example"})
    assert made["UV_DEFAULT_INDEX"] == "https://mine.example"


def test_folders_that_do_not_exist_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    gone = tmp_path / "gone"
    options = {"find-links": f"{gone} {tmp_path}", "extra-index-url": gone.as_uri()}
    made = environment(options, {})
    assert made["UV_FIND_LINKS"] == str(tmp_path)
    assert "UV_INDEX" not in made
    assert capsys.readouterr().err.splitlines() == [
        f"pip's extra-index-url names {gone.as_uri()}, which is no folder here: left out.",
        f"pip's find-links names {gone}, which is no folder here: left out.",
    ]


@pytest.mark.parametrize(("value", "expected"), [("true", ["--no-index"]), ("1", ["--no-index"]), ("false", [])])
def test_a_pip_without_index_makes_a_uv_without_index(value: str, expected: list[str]):
    assert arguments({"no-index": value}) == expected
    assert arguments({}) == []


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two builds of the same version of a package, the only one that this machine's pip looks at."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for version in ("1.0", "1.0+cpu"):
        info = f"parrot-{version}.dist-info"
        files = {
            "parrot.py": f"BUILD = {version!r}\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: parrot\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
        with zipfile.ZipFile(folder / f"parrot-{version}-py3-none-any.whl", "w") as archive:
            for name, text in {**files, f"{info}/RECORD": record}.items():
                archive.writestr(name, text)
    (tmp_path / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {folder}\n    {tmp_path}/gone\n")
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return folder


def install(target: Path, requirement: str) -> subprocess.CompletedProcess[str]:
    listed = target.with_suffix(".txt")
    listed.write_text(requirement)
    command = [sys.executable, UV, "pip", "install", "--no-deps", "--target", target, "-r", listed]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_build_comes_from_the_folder_that_pip_is_told_of(wheels: Path, tmp_path: Path):
    done = install(tmp_path / "installed", "parrot==1.0\n")
    assert done.returncode == 0, done.stderr
    # As with pip, the local label makes it the newer one: so a build for CPU is taken where there is one.
    assert (tmp_path / "installed" / "parrot.py").read_text() == "BUILD = '1.0+cpu'\n"
    assert f"{tmp_path}/gone, which is no folder here" in done.stderr


def test_hashes_in_a_lock_are_checked(wheels: Path, tmp_path: Path):
    def hash_of(build: str) -> str:
        return hashlib.sha256((wheels / f"parrot-{build}-py3-none-any.whl").read_bytes()).hexdigest()

    right = install(tmp_path / "right", f"parrot==1.0 --hash=sha256:{hash_of('1.0+cpu')}\n")
    assert right.returncode == 0, right.stderr
    # The hash of the other build of this version does not do; hence torch is locked without hashes.
    wrong = install(tmp_path / "wrong", f"parrot==1.0 --hash=sha256:{hash_of('1.0')}\n")
    assert wrong.returncode != 0
    assert "Hash mismatch" in wrong.stderr
    assert not (tmp_path / "wrong" / "parrot.py").exists()
