"""The sample, the schema and what `init` writes say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import agent
from agent.config.loading import load
from agent.config.sample import DEMO, _scalar, full_sample_text, sample_text
from agent.config.schema import json_schema
from agent.model import ServiceType

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE = Path(agent.__file__).parent.parent / "sample_config.yaml"
EXAMPLES = {
    "service.url",
    "service.client_id",
    "service.client_secret",
    "state_dir",
    "watch_folders.name",
    "watch_folders.project_id",
    "watch_folders.inbox",
    "watch_folders.output",
}
"""Keys where the sample shows a value of its own."""


@pytest.fixture
def sample() -> str:
    if not SAMPLE.exists():
        pytest.skip("the sample lies in the repository, not in the installed package")
    return SAMPLE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def editor() -> Any:
    validator = pytest.importorskip("jsonschema", reason="an editor's part").Draft202012Validator
    validator.check_schema(json_schema())
    return validator(json_schema())


def uncommented(text: str) -> Any:
    """Return the sample with its commented keys in force."""
    top_level = re.sub(r"(?m)^# ?( *[a-z_]+:)(?= )(?!.*\$\{NAME)", r"\1", text)
    return yaml.safe_load(re.sub(r"(?m)^( +)# ([a-z_]+:)(?= )", r"\1\2", top_level))


def keys_of(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        entry = inner[0] if name == "watch_folders" else inner
        if isinstance(entry, dict) and entry:
            yield from keys_of(entry, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner


def schema_keys(schema: dict[str, Any], node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, described in node["properties"].items():
        assert described["description"], name
        reference = re.search(r"#/\$defs/(\w+)", str(described))
        if reference:
            yield from schema_keys(schema, schema["$defs"][reference[1]], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", described


def test_sample_and_schema_have_the_same_keys(sample: str) -> None:
    schema = json_schema()
    assert dict(keys_of(uncommented(sample))).keys() == dict(schema_keys(schema, schema)).keys()


def test_the_sample_shows_the_defaults(sample: str) -> None:
    schema = json_schema()
    described = dict(schema_keys(schema, schema))
    for key, value in keys_of(uncommented(sample)):
        if key not in EXAMPLES:
            assert value == described[key]["default"], key


def test_the_sample_loads_without_a_warning(sample: str) -> None:
    assert sample
    loaded = load(SAMPLE, environment={}, schema_only=True)
    assert (loaded.settings.watch_folders[0].name, loaded.warnings) == ("invoices", ())


def test_every_key_of_the_sample_has_its_line_of_comment(sample: str) -> None:
    lines = [line for line in sample.splitlines() if re.match(r"#? *(- )?[a-z_]+:", line)]
    assert lines
    assert all(" # " in line for line in lines)


def test_the_sample_is_up_to_date(sample: str) -> None:
    assert sample == full_sample_text()


def test_the_sample_passes_its_own_json_schema(sample: str, editor: Any) -> None:
    editor.validate(uncommented(sample))


@pytest.mark.parametrize(
    ("key", "value", "valid"),
    [
        ("settle", "2s", True),
        ("settle", "${SETTLE}", True),
        ("settle", 0, True),
        ("settle", "2", False),
        ("settle", "never", False),
        ("give_up_after", "never", True),
        ("recursive", "${X:-true}", True),
        ("recursive", "maybe", False),
        ("max_size", 1000, True),
        ("observer", "poll", False),
        ("tags", None, True),
        ("setle", "2s", False),
    ],
)
def test_editors_learn_what_a_value_may_be(key: str, value: Any, valid: bool, editor: Any) -> None:
    document = {
        "service": {"client_id": "a", "client_secret": "b"},
        "watch_folders": [{"project_id": "P", "inbox": "x", key: value}],
    }
    assert editor.is_valid(document) is valid


# --- what init and demo write ----------------------------------------------------------------------------------------


def written(tmp_path: Path, **values: Any) -> Path:
    path = tmp_path / "config.yaml"
    given_values = {
        "service_url": "http://127.0.0.1:8000",
        "project_id": "P",
        "inbox": str(tmp_path / "in"),
        "output": str(tmp_path / "out"),
        "state_dir": str(tmp_path / "state"),
    }
    path.write_text(sample_text(**(given_values | values)), encoding="utf-8")
    return path


def test_what_init_writes_loads_as_it_was_given(tmp_path: Path) -> None:
    environment = {"ALUMA_CLIENT_ID": "id", "ALUMA_CLIENT_SECRET": "hush"}
    loaded = load(written(tmp_path, name="a: #b"), environment=environment)
    settings = loaded.settings
    folder = settings.watch_folders[0]
    assert (settings.service.url, settings.service.client_id) == ("http://127.0.0.1:8000", "id")
    assert (folder.name, folder.inbox, folder.output) == ("a: #b", tmp_path / "in", tmp_path / "out")
    assert settings.state_dir == tmp_path / "state"
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("service", "key", "given"),
    [
        (ServiceType.SENDAI, "project_id", {"service.team_id": "team_1"}),
        (ServiceType.TYPLESS, "document_type_name", {}),
    ],
)
def test_what_is_written_for_other_services_loads_too(
    tmp_path: Path, service: ServiceType, key: str, given: dict[str, str]
) -> None:
    path = written(tmp_path, service=service, overrides=given)
    environment = {"SENDAI_API_KEY": "hush", "TYPLESS_API_KEY": "hush"}
    settings = load(path, environment=environment).settings
    assert (settings.service.type, settings.service.api_key, settings.watch_folders[0].project_id) == (
        service,
        "hush",
        "P",
    )
    assert f"{key}: P" in path.read_text(encoding="utf-8")


def test_what_demo_writes_waits_only_shortly(tmp_path: Path) -> None:
    path = written(tmp_path, overrides=DEMO, credentials={"client_id": "demo", "client_secret": "demo"})
    path.chmod(0o600)
    loaded = load(path, environment={})
    folder = loaded.settings.watch_folders[0]
    assert (folder.name, folder.settle, folder.export.poll_min) == ("in", 0.3, 0.2)
    assert loaded.warnings == ()


def test_a_folder_without_output_is_written_so(tmp_path: Path) -> None:
    environment = {"ALUMA_CLIENT_ID": "id", "ALUMA_CLIENT_SECRET": "hush"}
    assert load(written(tmp_path, output=None), environment=environment).settings.watch_folders[0].output is None


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30))
def test_any_text_is_read_back_by_every_yaml_reader(text: str) -> None:
    for flow in (False, True):
        document = f"[{_scalar(text, flow=True)}]" if flow else f"key: {_scalar(text)}   # comment"
        assert yaml.safe_load(document) == ([text] if flow else {"key": text})
