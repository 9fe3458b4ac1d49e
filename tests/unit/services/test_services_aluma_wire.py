from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.errors import TaskFatal
from agent.model import ExportFile, FileSource, Lookup, ServiceTaskState, Task
from agent.services.aluma_wire import matching, read_projects, read_specification, read_task, read_tasks
from agent.services.reading import read_time

SEED_TASK = {
    "id": "SWdh86taQhKwwpY0HUKD7Q",
    "name": "00001.pdf",
    "file_collection_id": "hZ7GkxSHSRmk9ibpio_yOQ",
    "project_id": "ZbfzIZorTFOV60GX58YUuQ",
    "project_name": "ACME Medical Records",
    "created_at": "2024-03-25T16:37:08Z",
    "documents_count": 5,
    "state": "pending:start_client_action",
    "client_action": "export",
}
SEED_SPECIFICATION = {
    "documents": [
        {
            "files": [
                {"folder": "", "filename": "00001.csv", "source": "content", "content": "a\n,b", "url": None},
                {"folder": "invoices", "filename": "00001.pdf", "source": "url", "content": None, "url": "/f/1"},
            ]
        }
    ]
}


def test_the_documented_task_is_read_whole() -> None:
    assert read_task(SEED_TASK) == Task(
        id="SWdh86taQhKwwpY0HUKD7Q",
        name="00001.pdf",
        project_id="ZbfzIZorTFOV60GX58YUuQ",
        state=ServiceTaskState.PENDING_START,
        client_action="export",
        created_at=1711384628.0,
        file_collection_id="hZ7GkxSHSRmk9ibpio_yOQ",
        documents_count=5,
    )


@pytest.mark.parametrize("identifier", [None, "", 7, ["a"], " ", ".", "..", "a\nb", "x" * 600])
def test_a_task_without_a_usable_id_is_none(identifier: object) -> None:
    assert read_task({**SEED_TASK, "id": identifier}) is None


@pytest.mark.parametrize("state", ["archived", None, 3, ["queued"], {}])
def test_a_state_nobody_documented_is_unrecognised(state: object) -> None:
    task = read_task({**SEED_TASK, "state": state})
    assert task is not None
    assert task.state is ServiceTaskState.UNRECOGNISED


@pytest.mark.parametrize("created", ["2024-03-25T16:38:66Z", "", None, 7, "yesterday", "9" * 100, "9999-99-99"])
def test_an_impossible_time_is_none(created: object) -> None:
    assert read_time(created) is None


@pytest.mark.parametrize("created", ["2024-03-25T16:37:08Z", "2024-03-25T16:37:08", "2024-03-25T17:37:08+01:00"])
def test_a_time_is_utc_unless_it_says_otherwise(created: str) -> None:
    assert read_time(created) == 1711384628.0


@pytest.mark.parametrize("document", [None, [], {}, {"tasks": None}, {"tasks": {}}, "tasks", 3])
def test_what_is_no_list_of_tasks_is_not_taken_for_an_empty_one(document: object) -> None:
    assert read_tasks(document) is None


def test_items_without_an_id_are_left_out_and_an_id_listed_twice_is_one_task() -> None:
    tasks = read_tasks({"tasks": [SEED_TASK, {"name": "no id"}, "text", {**SEED_TASK, "name": "00002.pdf"}]})
    assert tasks is not None
    assert [task.name for task in tasks] == ["00001.pdf"]


@pytest.mark.parametrize(
    "document", [{"projects": [{"id": "p", "name": "n"}]}, [{"id": "p", "name": "n"}, {"name": "x"}]]
)
def test_projects_are_read_from_both_shapes(document: object) -> None:
    projects = read_projects(document)
    assert projects is not None
    assert [(project.id, project.name) for project in projects] == [("p", "n")]


def test_the_documented_specification_is_read() -> None:
    assert read_specification(SEED_SPECIFICATION).files == (
        ExportFile("", "00001.csv", FileSource.CONTENT, content="a\n,b"),
        ExportFile("invoices", "00001.pdf", FileSource.URL, url="/f/1"),
    )


def test_empty_content_and_a_missing_folder_are_fine() -> None:
    document = {"documents": [{"files": [{"filename": "a.csv", "source": "content", "content": ""}]}]}
    assert read_specification(document).files == (ExportFile("", "a.csv", FileSource.CONTENT),)


def one_file(**changes: Any) -> dict[str, Any]:
    return {"documents": [{"files": [{"folder": "", "filename": "a", "source": "content", "content": "b", **changes}]}]}


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        "text",
        {"documents": None},
        {"documents": {}},
        {"documents": []},
        {"documents": [[]]},
        {"documents": [{"files": None}]},
        {"documents": [{"files": []}]},
        {"documents": [{"files": ["a"]}]},
        one_file(source="ftp"),
        one_file(source=None),
        one_file(source=["content"]),
        one_file(source={}),
        one_file(content=None),
        one_file(content=7),
        one_file(source="url"),
        one_file(source="url", url=""),
        one_file(source="url", url=["/a"]),
        one_file(filename=None),
        one_file(filename=7),
        one_file(folder=7),
    ],
)
def test_a_specification_that_makes_no_sense_fails_the_task(document: object) -> None:
    with pytest.raises(TaskFatal):
        read_specification(document)


TASK = Task("t1", "scan.pdf", "p1", ServiceTaskState.QUEUED, created_at=1000.0)
LOOKUP = Lookup("key-1", "p1", "scan.pdf", 1000.0, 1010.0)


@pytest.mark.parametrize("created", [995.0, 1000.0, 1015.0, None])
def test_a_task_made_around_the_sending_matches(created: float | None) -> None:
    assert matching([replace(TASK, created_at=created)], LOOKUP, clock_offset=0)


@pytest.mark.parametrize("created", [994.0, 1016.0])
def test_a_task_made_before_or_after_does_not_match(created: float) -> None:
    assert not matching([replace(TASK, created_at=created)], LOOKUP, clock_offset=0)


@pytest.mark.parametrize("change", [{"name": "other.pdf"}, {"project_id": "p2"}])
def test_a_task_of_another_name_or_project_does_not_match(change: dict[str, Any]) -> None:
    assert not matching([replace(TASK, **change)], LOOKUP, clock_offset=0)


def test_times_are_compared_by_the_clock_of_the_service() -> None:
    assert matching([replace(TASK, created_at=87400.0)], LOOKUP, clock_offset=86400.0)


def test_a_name_listed_with_its_escapes_is_still_that_name() -> None:
    lookup = replace(LOOKUP, task_name="a&b=ü.pdf")
    assert matching([replace(TASK, name="a%26b%3D%C3%BC.pdf")], lookup, clock_offset=0)


def test_a_task_with_our_key_is_the_only_candidate_whatever_its_time() -> None:
    ours = replace(TASK, id="t2", created_at=5.0, tags={"fsagent_key": "key-1"})
    assert [task.id for task in matching([TASK, ours], LOOKUP, clock_offset=0)] == ["t2"]


def test_a_task_with_the_key_of_another_file_does_not_match() -> None:
    assert not matching([replace(TASK, tags={"fsagent_key": "key-2"})], LOOKUP, clock_offset=0)
