"""What a sound configuration becomes: variables, paths, defaults, YAML's traps, warnings."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.config.account import runtime_warnings
from agent.config.loading import Loaded, load
from agent.config.locations import default_path, default_state_dir, find_path
from agent.errors import ConfigurationError
from agent.model import (
    DocumentType,
    ExportScope,
    ExportSettings,
    LoggingSettings,
    Observer,
    OnConflict,
    RetrySettings,
    ServiceSettings,
    ServiceType,
    Settings,
    WatchFolder,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE = """\
service:
  client_id: me
  client_secret: ${SECRET}
watch_folders:
  - project_id: P
    inbox: in/a
    output: out/a
"""


def loaded(
    text: str, folder: Path, *, environment: Mapping[str, str] | None = None, schema_only: bool = False
) -> Loaded:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    environment = {"SECRET": "hush"} if environment is None else environment
    return load(path, environment=environment, schema_only=schema_only)


def watch_folder(lines: str, folder: Path, *, environment: Mapping[str, str] | None = None) -> WatchFolder:
    settings = loaded(BASE + lines, folder, environment={"SECRET": "hush", **(environment or {})}).settings
    return settings.watch_folders[0]


def test_defaults_are_those_of_the_model(tmp_path: Path) -> None:
    settings = loaded(BASE, tmp_path).settings
    folder = settings.watch_folders[0]
    bare_folder = WatchFolder(name="a", project_id="P", inbox=tmp_path / "in/a", output=tmp_path / "out/a")
    bare = Settings(
        ServiceSettings(type=ServiceType.ALUMA, url="https://api.aluma.io", client_id="me", client_secret="hush"),
        state_dir=default_state_dir({}),
        watch_folders=(bare_folder,),
    )
    for record, expected in (
        (settings.service, bare.service),
        (settings.retry, RetrySettings()),
        (settings.logging, LoggingSettings()),
    ):
        assert record == expected
    placed = {"archive", "error", "export"}
    for each in (one for one in fields(WatchFolder) if one.name not in placed):
        assert getattr(folder, each.name) == getattr(bare_folder, each.name), each.name
    for each in (one for one in fields(ExportSettings) if one.name not in placed):
        assert getattr(folder.export, each.name) == getattr(ExportSettings(), each.name), each.name
    assert (settings.min_free, settings.history_keep, settings.ledger) == (bare.min_free, bare.history_keep, "sqlite")


def test_every_key_arrives(tmp_path: Path) -> None:
    folder = watch_folder(
        """\
    name: n
    formerly: [old, older]
    include: ["*.PDF", "sub/*"]
    exclude: ["x*"]
    unmatched: error
    recursive: no
    settle: 250ms
    ready_file: "{stem}.ok"
    observer: polling
    poll_interval: 1m
    rescan: 2h
    accept: [png, zip]
    stalled_after: 1d
    give_up_after: never
    truncated: submit
    max_size: never
    hard_links: allow
    on_duplicate: skip
    task_name: "{watch_folder}/{stem}"
    tags: {customer: 007, path: "{relative_path}"}
    send_path: false
    after_submit: delete
    archive: done/here
    error: bad
    archive_keep: 30d
    error_keep: 90d
    export:
      scope: project
      newline: crlf
      encoding: cp1252
      on_conflict: overwrite
      file_mode: 0640
      folder_mode: "2750"
      poll_min: 2s
      poll_max: 3s
      retry_delay: 4s
      max_attempts: 5
      on_exhausted: fail
      archive: copies
      error: notes
      workers: 6
""",
        tmp_path,
    )
    inbox, output = tmp_path / "in" / "a", tmp_path / "out" / "a"
    assert folder == WatchFolder(
        name="n",
        project_id="P",
        inbox=inbox,
        output=output,
        formerly=("old", "older"),
        include=("*.PDF", "sub/*"),
        exclude=("x*",),
        unmatched="error",
        recursive=False,
        settle=0.25,
        ready_file="{stem}.ok",
        observer=Observer.POLLING,
        poll_interval=60.0,
        rescan=7200.0,
        accept=(DocumentType.PNG, DocumentType.ZIP),
        stalled_after=86_400.0,
        give_up_after=None,
        truncated="submit",
        max_size=None,
        max_size_is_set=True,
        hard_links="allow",
        on_duplicate="skip",
        task_name="{watch_folder}/{stem}",
        tags={"customer": "007", "path": "{relative_path}"},
        send_path=False,
        after_submit="delete",
        archive=inbox / "done" / "here",
        error=inbox / "bad",
        archive_keep=30 * 86_400.0,
        error_keep=90 * 86_400.0,
        export=ExportSettings(
            scope=ExportScope.PROJECT,
            newline="crlf",
            encoding="cp1252",
            on_conflict=OnConflict.OVERWRITE,
            file_mode=0o640,
            folder_mode=0o2750,
            poll_min=2.0,
            poll_max=3.0,
            retry_delay=4.0,
            max_attempts=5,
            on_exhausted="fail",
            archive=output / "copies",
            error=output / "notes",
            workers=6,
        ),
    )


# --- YAML ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["no", "yes", "on", "022", "1:30", "1e5", "2024-01-01", "12_000", "0x1f", ".5"])
def test_plain_text_stays_as_it_is_written(name: str, tmp_path: Path) -> None:
    assert watch_folder(f"    name: {name}\n", tmp_path).name == name


@pytest.mark.parametrize(
    ("text", "value"),
    [("no", False), ("off", False), ("True", True), ("yes", True), ("'true'", True), ("FALSE", False)],
)
def test_truth_values_are_read_however_yaml_writes_them(text: str, value: bool, tmp_path: Path) -> None:
    assert watch_folder(f"    recursive: {text}\n", tmp_path).recursive is value


def test_an_empty_section_means_its_defaults(tmp_path: Path) -> None:
    text = BASE + "    tags:\n    export:\n      # workers: 1\nretry:\nlogging:\nweb:\n"
    settings = loaded(text, tmp_path).settings
    assert (settings.retry, settings.logging) == (RetrySettings(), LoggingSettings())


def test_the_status_page_may_be_off(tmp_path: Path) -> None:
    assert loaded(BASE + "web: {listen: null}\n", tmp_path).warnings == ()


def test_aliases_and_merges_share_values(tmp_path: Path) -> None:
    text = BASE + (
        "    export: &export {workers: 7, newline: lf}\n"
        "  - project_id: Q\n    inbox: in/b\n    output: out/b\n    export: {<<: *export, newline: crlf}\n"
    )
    export = loaded(text, tmp_path).settings.watch_folders[1].export
    assert (export.workers, export.newline) == (7, "crlf")


def test_a_byte_order_mark_and_windows_line_ends_are_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + BASE.replace("\n", "\r\n").encode())
    assert load(path, environment={"SECRET": "s"}).settings.service.client_secret == "s"


# --- variables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "alpha"),
        ("x-${A}-${B:-b}", "x-alpha-b"),
        ("${EMPTY:-filled}", "filled"),
        ("$${A}", "${A}"),
        ("$A", "$A"),
        ("'${A} ${ProgramFiles(x86)}'", "alpha pf"),
    ],
)
def test_variables_are_filled_in(text: str, value: str, tmp_path: Path) -> None:
    environment = {"A": "alpha", "EMPTY": "", "ProgramFiles(x86)": "pf"}
    assert watch_folder(f"    name: {text}\n", tmp_path, environment=environment).name == value


def test_variables_may_give_numbers_durations_and_choices(tmp_path: Path) -> None:
    lines = "    settle: ${S}s\n    recursive: ${R}\n    export: {workers: '${W:-3}', newline: '${N}'}\n"
    folder = watch_folder(lines, tmp_path, environment={"S": "9", "R": "false", "N": "lf"})
    assert (folder.settle, folder.recursive, folder.export.workers, folder.export.newline) == (9.0, False, 3, "lf")


# --- paths, names, scope ---------------------------------------------------------------------------------------------


def test_relative_paths_are_relative_to_the_file_and_links_are_not_followed(tmp_path: Path) -> None:
    text = BASE.replace("in/a", "./x/../in/a").replace("out/a", str(tmp_path / "elsewhere"))
    settings = loaded(text + "state_dir: state\nlogging: {file: logs/a.log}\n", tmp_path).settings
    folder = settings.watch_folders[0]
    assert (folder.inbox, folder.output) == (tmp_path / "in" / "a", tmp_path / "elsewhere")
    assert (folder.archive, folder.export.error) == (
        tmp_path / "in" / "a" / "archive",
        tmp_path / "elsewhere" / "error",
    )
    assert (settings.state_dir, settings.logging.file) == (tmp_path / "state", tmp_path / "logs" / "a.log")
    assert settings.source == tmp_path / "config.yaml"


def test_archive_and_error_may_be_absolute(tmp_path: Path) -> None:
    folder = watch_folder(f"    archive: '{tmp_path / 'done'}'\n", tmp_path)
    assert folder.archive == tmp_path / "done"


def test_without_an_output_there_is_no_place_for_export_errors(tmp_path: Path) -> None:
    folder = loaded(BASE.replace("    output: out/a\n", ""), tmp_path).settings.watch_folders[0]
    assert (folder.output, folder.export.error, folder.export.scope) == (None, None, ExportScope.OWN)


def test_without_an_inbox_name_and_scope_follow_the_output(tmp_path: Path) -> None:
    folder = loaded(BASE.replace("in/a", "null").replace("out/a", "out/b"), tmp_path).settings.watch_folders[0]
    assert (folder.name, folder.archive, folder.export.scope) == ("b", None, ExportScope.PROJECT)


def test_http_is_allowed_to_this_machine(tmp_path: Path) -> None:
    for host in ("localhost:8", "127.0.0.1:8", "127.8.9.1", "[::1]:8"):
        text = BASE.replace("client_id: me", f"client_id: me\n  url: http://{host}/")
        assert loaded(text, tmp_path).settings.service.url == f"http://{host}"


# --- the secret ------------------------------------------------------------------------------------------------------


def with_secret_file(folder: Path, content: bytes) -> str:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    return BASE.replace("client_secret: ${SECRET}", "client_secret_file: secret")


@pytest.mark.parametrize("content", [b"hush", b"hush\n", b"hush\r\n", b"\xef\xbb\xbfhush\n"])
def test_the_secret_may_stand_in_a_file(content: bytes, tmp_path: Path) -> None:
    found = loaded(with_secret_file(tmp_path, content), tmp_path)
    assert (found.settings.service.client_secret, found.warnings) == ("hush", ())


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n", b"\xff\xfe"])
def test_a_secret_file_without_one_secret_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="client_secret_file: "):
        loaded(with_secret_file(tmp_path, content), tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs in folders of this platform")
def test_nobody_is_waited_for_to_write_the_secret_into_a_fifo(tmp_path: Path) -> None:
    getattr(os, "mkfifo")(tmp_path / "secret")  # noqa: B009 -- Windows has no such name for mypy to find
    with pytest.raises(ConfigurationError, match="client_secret_file: expected one line with the secret in "):
        loaded(BASE.replace("client_secret: ${SECRET}", "client_secret_file: secret"), tmp_path)


def test_a_secret_file_others_can_read_is_a_warning(tmp_path: Path) -> None:
    text = with_secret_file(tmp_path, b"hush")
    if (tmp_path / "secret").stat().st_mode & 0o077:
        pytest.skip("this system has no permission bits")
    (tmp_path / "secret").chmod(0o644)
    (warning,) = loaded(text, tmp_path).warnings
    assert "config.yaml:3:23: service.client_secret_file: every user of this machine can read" in warning


def test_a_configuration_with_a_secret_others_can_read_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(BASE.replace("${SECRET}", "hush"))
    path.chmod(0o600)
    if path.stat().st_mode & 0o077:
        pytest.skip("this system has no permission bits")
    path.chmod(0o644)
    (warning,) = load(path, environment={}).warnings
    assert "config.yaml:3:18: service.client_secret: every user of this machine can read" in warning


def test_no_record_shows_the_secret(tmp_path: Path) -> None:
    assert "hush" not in repr(loaded(BASE, tmp_path))


# --- without the credentials -----------------------------------------------------------------------------------------


def without_credentials(text: str, folder: Path) -> Loaded:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return load(path, environment={}, with_credentials=False)


@pytest.mark.parametrize("secret", ["client_secret: ${SECRET}", "client_secret_file: nowhere"])
def test_what_asks_only_the_ledger_needs_no_credentials(secret: str, tmp_path: Path) -> None:
    text = BASE.replace("client_id: me", "client_id: ${ID}").replace("client_secret: ${SECRET}", secret)
    assert without_credentials(text, tmp_path).settings.watch_folders[0].project_id == "P"


def test_without_credentials_every_other_variable_is_still_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        without_credentials(BASE.replace("in/a", "${INBOX}"), tmp_path)
    assert [problem.key for problem in caught.value.problems] == ["watch_folders[0].inbox"]


# --- schema only -----------------------------------------------------------------------------------------------------


def test_schema_only_needs_neither_variables_nor_files(tmp_path: Path) -> None:
    text = (
        BASE.replace("me\n", "${ID}\n  ca_file: nope\n") + "    settle: ${S}\n    include: ['${P}']\n    name: ${N}\n"
    )
    assert loaded(text, tmp_path, environment={}, schema_only=True).settings.watch_folders[0].settle == 2.0


def test_schema_only_still_finds_mistakes(tmp_path: Path) -> None:
    text = BASE + "    settle: x\n  - {project_id: Q, inbox: in/a/b}\n"
    with pytest.raises(ConfigurationError) as caught:
        loaded(text, tmp_path, environment={}, schema_only=True)
    assert [problem.key for problem in caught.value.problems] == ["watch_folders[0].settle", "watch_folders[1].inbox"]


# --- warnings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ("    settle: 0\n", "watch_folders[0].settle"),
        ("    give_up_after: 5s\n", "watch_folders[0].give_up_after"),
        ("    max_size: 0\n", "watch_folders[0].max_size"),
        ("    include: []\n", "watch_folders[0].include"),
        ("    archive_keep: 0d\n", "watch_folders[0].archive_keep"),
        ("    export: {workers: 0}\n", "watch_folders[0].export.workers"),
        ("    export: {poll_max: 0s}\n", "watch_folders[0].export.poll_max"),
        ("    export: {file_mode: 0440}\n", "watch_folders[0].export.file_mode"),
        ("retry: {unknown_wait: 0}\n", "retry.unknown_wait"),
        ("retry: {max: 0}\n", "retry.max"),
        ("min_free: 0\n", "min_free"),
        ("history_keep: 0\n", "history_keep"),
        ("logging: {file: log/x, backups: 0}\n", "logging.backups"),
    ],
)
def test_an_unsafe_value_is_a_warning(lines: str, key: str, tmp_path: Path) -> None:
    (warning,) = loaded(BASE + lines, tmp_path).warnings
    assert "config.yaml:8:" in warning
    assert f": {key}: " in warning


@pytest.mark.parametrize(("project", "count"), [("P", 1), ("Q", 0)])
def test_inbox_and_output_of_one_project_in_two_watch_folders_are_a_warning(
    tmp_path: Path, project: str, count: int
) -> None:
    split = BASE.replace("    output: out/a\n", f"  - project_id: {project}\n    name: out\n    output: out/a\n")
    warnings = loaded(split, tmp_path).warnings
    assert [": watch_folders[0].inbox: nothing of it is exported: out " in warning for warning in warnings] == [
        True
    ] * count


def test_results_that_become_no_file_are_a_warning(tmp_path: Path) -> None:
    text = (
        "service: {type: typless, api_key: k}\nwatch_folders:\n"
        "  - {document_type_name: T, inbox: in, output: out, export: {formats: []}}\n"
    )
    (warning,) = loaded(text, tmp_path).warnings
    assert ": watch_folders[0].export.formats: empty: no result is ever written" in warning


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("timeout: 0", "timeout"),
        ("connections: 0", "connections"),
        ("lease: 1s", "lease"),
        ("url: http://h.example\n  insecure_http: true", "url"),
    ],
)
def test_an_unsafe_value_of_the_service_is_a_warning(line: str, key: str, tmp_path: Path) -> None:
    (warning,) = loaded(BASE.replace("client_id: me", f"client_id: me\n  {line}"), tmp_path).warnings
    assert f": service.{key}: " in warning


def test_running_with_all_rights_is_a_warning() -> None:
    everything = hasattr(os, "geteuid") and os.geteuid() == 0
    assert [("as root" in warning) for warning in runtime_warnings() if "LocalSystem" not in warning] == [
        True
    ] * everything


# --- where the file is -----------------------------------------------------------------------------------------------


def test_the_option_goes_before_the_variable_and_that_before_the_platform() -> None:
    environment = {"FSAGENT_CONFIG": "from-variable.yaml"}
    assert find_path("from-option.yaml", environment) == Path("from-option.yaml")
    assert find_path(None, environment) == Path("from-variable.yaml")
    assert find_path(None, {}) == default_path({})


def test_each_platform_has_its_place() -> None:
    windows = {"ProgramData": "D:/Data"}
    assert default_path({}, windows=False) == Path("/etc/fsagent/config.yaml")
    assert default_path(windows, windows=True) == Path("D:/Data/fsagent/config.yaml")
    assert default_state_dir({}, windows=False) == Path("/var/lib/fsagent")
    assert default_state_dir(windows, windows=True) == Path("D:/Data/fsagent")
