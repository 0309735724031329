import subprocess
import sys
from pathlib import Path

import pytest

from tools.check_commits import check, faults

SCRIPT = Path(__file__).parents[2] / "tools" / "check_commits.py"


def git(repository: Path, *arguments: str) -> str:
    author = ["-c", "user.name=A", "-c", "user.email=a@b.cc", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *author, *arguments], cwd=repository, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(repository: Path, message: str) -> str:
    git(repository, "commit", "--allow-empty", "--allow-empty-message", "-m", message)
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("subject", "found"),
    [
        ("Retry failed shards together", []),
        ("R" + "e" * 71, []),
        ("É" * 72, []),  # characters count, not bytes
        ("R" + "e" * 72, ["has 73 characters; at most 72 are allowed"]),
        ("retry failed shards", ["does not begin with a capital letter"]),
        ("Retry failed shards.", ["ends in a full stop"]),
        ("", ["is empty"]),
    ],
)
def test_faults_of_a_subject(subject: str, found: list[str]):
    assert faults(subject) == found


def test_only_commits_after_the_base_are_checked(repository: Path, capsys: pytest.CaptureFixture[str]):
    commit(repository, "an old subject that nobody checked.")
    base = commit(repository, "the base itself.")
    assert check(base) == 0
    commit(repository, "Retry failed shards together\n\nthe body is free.")
    commit(repository, "retry")
    commit(repository, "")
    assert check(base) == 2
    printed = capsys.readouterr()
    assert "'retry' does not begin with a capital letter." in printed.err
    assert printed.out.splitlines()[-1] == "Commit subjects: 3 checked, 2 wrong."


def test_commits_that_come_in_by_a_merge_are_checked(repository: Path):
    base = commit(repository, "Begin")
    git(repository, "checkout", "--quiet", "-b", "side")
    commit(repository, "on the side")
    git(repository, "checkout", "--quiet", "-")
    commit(repository, "Go on")
    git(repository, "merge", "--quiet", "--no-edit", "side")
    assert check(base) == 1


def test_a_shallow_clone_is_no_failure(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    base = commit(repository, "Begin")
    commit(repository, "an unchecked one")
    git(tmp_path, "clone", "--quiet", "--depth", "1", repository.as_uri(), "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    assert check(base) == 0
    assert "this clone does not have the commit" in capsys.readouterr().out


def test_the_script_runs_without_history(repository: Path):
    done = subprocess.run([sys.executable, SCRIPT], cwd=repository, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
