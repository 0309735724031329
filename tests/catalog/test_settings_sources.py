"""The file of settings, what overrides it, and how each mistake in it is told."""

import logging
import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from catalog.mlflow_log_in import PASSWORD_VARIABLE, USER_VARIABLE, log_in_of
from catalog.settings import Settings
from catalog.settings_guide import default, file_text
from catalog.settings_sources import RENAMED, SettingsError, read_given, variable

BILLION = " and at most 1,000,000,000"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder that the environment names."""
    monkeypatch.setenv("GLACIER_AL_VAR_DIR", str(tmp_path))
    return tmp_path


def write(folder: Path, *lines: str) -> Path:
    path = folder / "config.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def refusal() -> str:
    with pytest.raises(SettingsError) as caught:
        Settings()
    return str(caught.value)


def test_the_log_in_of_mlflow_in_the_environment_is_no_misspelt_setting(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(USER_VARIABLE, "glaciers")
    monkeypatch.setenv(PASSWORD_VARIABLE, "debris")
    assert log_in_of(Settings()) == ("glaciers", "debris")


def test_the_file_speaks_toml(folder: Path) -> None:
    write(folder, "mc_passes = 31", "auto_rounds = true", 'channels = ["red", "nir"]', "fine_tune_after_s = 60")
    settings = Settings()
    assert (settings.mc_passes, settings.auto_rounds, settings.channels) == (31, True, ["red", "nir"])
    assert settings.fine_tune_after_s == 60.0


def test_the_environment_overrides_the_file_and_arguments_override_both(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "mc_passes = 31", "mc_seed = 1", "round_size = 5")
    monkeypatch.setenv("GLACIER_AL_MC_SEED", "2")
    monkeypatch.setenv("GLACIER_AL_ROUND_SIZE", "6")
    settings = Settings(round_size=7)
    assert (settings.mc_passes, settings.mc_seed, settings.round_size) == (31, 2, 7)


def test_the_usual_folder_is_below_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLACIER_AL_VAR_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "var").mkdir()
    write(tmp_path / "var", "mc_passes = 31")
    assert Settings().mc_passes == 31


def test_the_folder_of_an_argument_has_a_file_of_its_own(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    write(folder, "mc_passes = 31")
    write(other, "mc_passes = 32")
    assert Settings(var_dir=other).mc_passes == 32


@pytest.mark.parametrize(("text", "depth"), [('"null"', None), ("4", 4), ('"4"', 4)])
def test_null_is_a_word_in_quotation_marks(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, depth: int | None
) -> None:
    write(folder, f"unet_depth = {text}", 'experiment = "null"')
    assert Settings().unet_depth == depth
    assert Settings().experiment == "null"
    monkeypatch.setenv("GLACIER_AL_UNET_DEPTH", "null")
    assert Settings().unet_depth is None


def test_a_relative_path_starts_at_the_folder_of_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    write(folder, 'scene_root = "../images"', 'raster_store = "rasters"', 'secrets_file = "/run/secrets.json"')
    settings = Settings()
    assert settings.scene_root == folder.parent / "images"
    assert settings.raster_store == f"{folder}/rasters"
    assert settings.secrets_file == Path("/run/secrets.json")


def test_a_path_may_start_at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    write(folder, 'scene_root = "~/images"', 'raster_store = "~/rasters"')
    assert Settings().scene_root == Path("/home/someone/images")
    assert Settings().raster_store == "/home/someone/rasters"


@pytest.mark.parametrize(
    ("lines", "faults"),
    [
        (["", "mc_pases = 31"], ["{path}, line 2: mc_pases names no setting; did you mean mc_passes?"]),
        (
            ["GLACIER_AL_MC_PASSES = 3"],
            ["{path}, line 1: GLACIER_AL_MC_PASSES names no setting; did you mean mc_passes?"],
        ),
        (['"MC_SEED" = 3'], ["{path}, line 1: MC_SEED names no setting; did you mean mc_seed?"]),
        (["mc_seed = 1", "[numbers]", "x = 3"], ["{path}, line 2: numbers names no setting"]),
        (
            ["gate_min_gain = 0.01"],
            [
                "{path}, line 1: gate_min_gain is no longer a setting; the gate now asks for confidence: set "
                "gate_confidence and gate_margin"
            ],
        ),
        (
            ["# mc_seed", "mc_seed = -1"],
            ["{path}, line 2: mc_seed is -1, expected a whole number, at least 0" + BILLION],
        ),
        (
            ["round_size = true"],
            ['{path}, line 1: round_size is "true", expected a whole number, at least 1 and at most 10,000'],
        ),
        (
            ["unet_dropout = 1"],
            ['{path}, line 1: unet_dropout is 1, expected a number, more than 0 and less than 1, or "null"'],
        ),
        (['device = "gpu"'], ['{path}, line 1: device is "gpu", expected "auto", "cpu" or "cuda"']),
        (['channels = "red"'], ['{path}, line 1: channels is "red", expected a list of texts']),
        (['channels = ["red", 3]'], ["{path}, line 1: channels.1 is 3: input should be a valid string"]),
        (["experiment = 2026-01-01"], ['{path}, line 1: experiment is "2026-01-01", expected a text']),
        (
            ['api_url = "127.0.0.1:80"', "", "mc_passes = 1"],
            [
                '{path}, line 1: api_url is "127.0.0.1:80", expected an address such as http://127.0.0.1:8000',
                "{path}, line 3: mc_passes is 1, expected a whole number, at least 2 and at most 1,000",
            ],
        ),
        (
            ['var_dir = "elsewhere"'],
            ["{path}, line 1: var_dir cannot be set in the file, which lies in that folder; set GLACIER_AL_VAR_DIR"],
        ),
    ],
)
def test_every_fault_of_the_file_is_told_with_its_line(folder: Path, lines: list[str], faults: list[str]) -> None:
    path = write(folder, *lines)
    assert refusal().splitlines()[1:-1] == [f"  {fault.format(path=path)}" for fault in faults]


def test_faults_of_file_and_environment_are_told_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder, "mc_passes = 1")
    monkeypatch.setenv("GLACIER_AL_MC_SEED", "-1")
    assert set(refusal().splitlines()[1:-1]) == {
        f"  {path}, line 1: mc_passes is 1, expected a whole number, at least 2 and at most 1,000",
        '  GLACIER_AL_MC_SEED: mc_seed is "-1", expected a whole number, at least 0 and at most 1,000,000,000',
    }


def test_a_fault_of_the_environment_is_not_put_down_to_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "mc_passes = 31")
    monkeypatch.setenv("GLACIER_AL_MC_PASSES", "1")
    assert "  GLACIER_AL_MC_PASSES: mc_passes is" in refusal()


def test_an_argument_is_not_put_down_to_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLACIER_AL_MC_PASSES", "31")
    with pytest.raises(SettingsError, match=r"\n  mc_passes is 1, expected"):
        Settings(mc_passes=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"device = cpu\n", r"is not TOML: .*line 1.*quotation marks"),
        (b"mc_seed = 1\nmc_seed = 2\n", r"is not TOML: .*line 2"),
        (b'experiment = "\xff"\n', "is not UTF-8: .* at byte 14"),
    ],
)
def test_a_file_that_is_not_toml_is_refused(folder: Path, content: bytes, message: str) -> None:
    path = folder / "config.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=rf"^{path} {message}"):
        Settings()


def test_a_byte_order_mark_and_windows_line_ends_are_read(folder: Path) -> None:
    (folder / "config.toml").write_bytes("mc_seed = 1\r\nmc_passes = 31\r\n".encode("utf-8-sig"))
    assert (Settings().mc_seed, Settings().mc_passes) == (1, 31)


def test_a_folder_in_place_of_the_file_is_refused(folder: Path) -> None:
    (folder / "config.toml").mkdir()
    assert refusal() == f"cannot read the settings in {folder}/config.toml: Is a directory"


def test_a_link_to_nothing_is_refused(folder: Path) -> None:
    (folder / "config.toml").symlink_to(folder / "moved.toml")
    assert refusal().endswith("it is a link to nothing")


def test_a_file_that_may_not_be_read_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> str:  # the tests may run as root, who may read everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", denied)
    assert refusal() == f"cannot read the settings in {folder}/config.toml: Permission denied"


def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GLACIER_AL_VAR_DIR", str(tmp_path / "file"))
    assert refusal() == f"cannot read the settings in {tmp_path}/file/config.toml: Not a directory"


@pytest.mark.parametrize(
    ("value", "message"), [("", "is empty; name a folder, or unset it"), ("~nobody-of-that-name/x", "home directory")]
)
def test_a_data_folder_that_names_nothing_is_refused(value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLACIER_AL_VAR_DIR", value)
    assert message in refusal()


def test_the_written_file_changes_nothing_until_a_mark_is_removed(folder: Path) -> None:
    text = file_text(Settings, folder)
    assert tomllib.loads(text) == {}
    plain = Settings()
    lines = [line.removeprefix("#") if line[:2] != "# " else line for line in text.splitlines()]
    write(folder, *lines)
    assert set(tomllib.loads("\n".join(lines))) == set(Settings.model_fields) - {"var_dir"}
    assert Settings() == plain
    given = read_given(Settings.model_fields, {})
    for number, line in enumerate(lines, 1):
        name, equals, _ = line.partition(" = ")
        if equals and not line.startswith("#"):
            assert given[name].place == f"{folder}/config.toml, line {number}"


def test_the_written_file_explains_every_setting(folder: Path) -> None:
    text = file_text(Settings, folder)
    entries = {block.rsplit("#", 1)[1].partition(" = ")[0]: block for block in text.split("\n\n") if "\n#" in block}
    assert (
        "# Passes T of Monte-Carlo dropout.\n# Allowed: a whole number, at least 2 and at most 1,000. Default: 20."
        in entries["mc_passes"]
    )
    assert "Unit: seconds." in entries["sweep_interval_s"]
    assert 'Allowed: "brush", "polygon" or "none"' in entries["preannotation"]
    for name, field in Settings.model_fields.items():
        if name != "var_dir":
            assert re.search(r"\bDefault:\s", entries[name])
            assert (field.description or "").split()[0] in entries[name]


def test_a_default_that_the_guide_tells_is_the_default(folder: Path) -> None:
    settings = Settings()
    for name in Settings.model_fields:
        if name != "var_dir":
            assert default(Settings, name, folder) == getattr(settings, name)


def test_processes_that_are_given_all_settings_look_at_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those that `up` starts: neither an edit of the file nor an old name in the shell may stop their jobs."""
    write(folder, "mc_passes = 31")
    settings = Settings()
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    for old in RENAMED:
        monkeypatch.setenv(variable(old), "0.9")
    write(folder, "mc_passes = ")
    assert Settings() == settings


class TestRenamed:
    @pytest.fixture(autouse=True)
    def _renamed(self) -> None:
        assert RENAMED["mc_contested_share"] == "mc_shortlist_share"

    def test_the_old_name_in_the_environment_is_taken_with_a_warning(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("GLACIER_AL_MC_CONTESTED_SHARE", "0.9")
        with caplog.at_level(logging.WARNING):
            assert Settings().mc_shortlist_share == 0.9
            Settings()
        assert len(caplog.records) <= 1  # once in a process

    def test_the_old_name_in_the_file_is_taken_with_a_warning(
        self, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = write(folder, "mc_contested_share = 0.8")
        with caplog.at_level(logging.WARNING):
            assert Settings().mc_shortlist_share == 0.8
        warning = f"{path}, line 1: mc_contested_share is now called mc_shortlist_share"
        assert [record.getMessage()[: len(warning)] for record in caplog.records] == [warning]

    def test_a_bad_value_is_told_where_the_old_name_is(self, folder: Path) -> None:
        path = write(folder, "mc_contested_share = 8")
        assert f"{path}, line 1: mc_shortlist_share is 8, expected a number, at least 0.2 and at most 1" in refusal()

    def test_an_argument_overrides_the_old_name(self, folder: Path) -> None:
        write(folder, "mc_contested_share = 0.8")
        assert Settings(mc_shortlist_share=0.7).mc_shortlist_share == 0.7

    def test_both_names_in_one_place_are_refused(self, folder: Path) -> None:
        path = write(folder, "mc_shortlist_share = 0.8", "mc_contested_share = 0.8")
        fault = "mc_contested_share is the old name of mc_shortlist_share, which {path}, line 1 sets too"
        assert f"{path}, line 2: {fault.format(path=path)}" in refusal()

    def test_both_names_in_two_places_are_refused(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write(folder, "mc_shortlist_share = 0.8")
        monkeypatch.setenv("GLACIER_AL_MC_CONTESTED_SHARE", "0.9")
        assert f"is the old name of mc_shortlist_share, which {path}, line 1 sets too; remove the old one" in refusal()


class Shade(BaseModel, extra="forbid"):
    name: str
    value: int = Field(ge=0)


class Shaded(Settings):
    """Settings with a structured value."""

    shades: list[Shade] = Field(default_factory=list, description="Shades.")
    tone: Shade | None = Field(None, description="Tone.")


class TestStructured:
    GIVEN = ("[[shades]]", 'name = "dark"', "value = 1", "[tone]", 'name = "light"', "value = 2")

    def test_a_table_in_the_file_is_json_in_the_environment(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(folder, *self.GIVEN)
        settings = Shaded()
        assert settings.shades == [Shade(name="dark", value=1)]
        assert settings.tone == Shade(name="light", value=2)
        for name, value in settings.as_environment().items():
            monkeypatch.setenv(name, value)
        write(folder)
        assert Shaded() == settings

    def test_a_table_is_taken_whole_from_one_place(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(folder, *self.GIVEN)
        monkeypatch.setenv("GLACIER_AL_TONE", '{"value": 3}')
        with pytest.raises(SettingsError, match=r"GLACIER_AL_TONE: tone.name is .*: field required"):
            Shaded()
        monkeypatch.setenv("GLACIER_AL_TONE", '{"name": "grey", "value": 3}')
        assert Shaded().tone == Shade(name="grey", value=3)

    def test_a_fault_in_a_table_is_told_with_its_path(self, folder: Path) -> None:
        path = write(folder, "[[shades]]", 'name = "dark"', "value = -1")
        with pytest.raises(SettingsError, match=f"{path}, line 1: shades.0.value is -1: input should be greater"):
            Shaded()

    def test_it_is_written_into_the_file_as_it_is_read(self, folder: Path) -> None:
        class Toned(Settings):
            tone: Shade = Field(Shade(name="light", value=2), description="Tone.")

        (line,) = [line for line in file_text(Toned, folder).splitlines() if line.startswith("#tone")]
        write(folder, line.removeprefix("#"))
        assert Toned().tone == Shade(name="light", value=2)
