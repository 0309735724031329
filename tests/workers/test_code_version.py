from importlib.metadata import version

import pytest

from workers import code_version


def test_without_git_the_release_is_all_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version.code_version() == version("glacier-al")


def test_a_repository_around_the_installation_is_not_ours(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setattr(code_version, "ROOT", tmp_path)
    assert code_version.code_version() == version("glacier-al")
