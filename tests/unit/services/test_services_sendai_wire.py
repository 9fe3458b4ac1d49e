"""Documents of Send AI in every style that was seen, and in some that were not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.errors import TaskFatal
from agent.model import ResultField, ServiceTaskState
from agent.services.sendai_assumptions import project_path, task_path, upload_path
from agent.services.sendai_wire import (
    may_grow,
    meta_of,
    read_result,
    read_task,
    read_upload,
    report_of,
    tasks_of,
    upload_state,
)

RUNNING = ServiceTaskState.RUNNING
BARE = {"id": "upl_1", "name": "Scan", "projectId": "p", "status": "processing", "createdAt": "2023-06-15T10:30:00Z"}
ENVELOPE = {
    "payload": {
        "id": "upl_1",
        "name": "Scan",
        "project_id": "p",
        "status": "IN_REVIEW",
        "created_at": "2023-06-15T10:30:00Z",
    }
}


def ids(upload: dict[str, Any]) -> list[tuple[str, str]]:
    return [(task.id, task.name) for task in tasks_of(upload, project_id="p")]


# --- uploads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [BARE, ENVELOPE])
def test_an_upload_is_read_in_both_styles(document: dict[str, Any]) -> None:
    task = read_upload(document)
    assert task is not None
    assert (task.id, task.name, task.project_id, task.state) == ("upl_1", "Scan", "p", RUNNING)
    assert task.created_at == 1686825000.0


@pytest.mark.parametrize("document", [None, [], "x", {}, {"payload": {}}, {"id": ""}, {"id": ".."}, {"id": "a\nb"}])
def test_an_answer_without_a_usable_id_is_no_upload(document: Any) -> None:
    assert read_upload(document) is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("PROCESSING", RUNNING),
        ("processing", RUNNING),
        ("REVIEWING", ServiceTaskState.REVIEWING),
        ("IN_REVIEW", ServiceTaskState.REVIEWING),
        ("inReview", ServiceTaskState.REVIEWING),
        ("in-review", ServiceTaskState.REVIEWING),
        ("Completed", ServiceTaskState.COMPLETED),
        ("PARTIAL", ServiceTaskState.COMPLETED),
        ("FAILED", ServiceTaskState.FAILED),
        ("BRAND_NEW", None),
        (None, None),
    ],
)
def test_the_state_of_an_upload_is_known_in_any_spelling(status: Any, expected: ServiceTaskState | None) -> None:
    assert upload_state({"status": status}) is expected


@pytest.mark.parametrize(
    ("upload", "expected"),
    [
        ({"tasks": [{"id": "t2", "name": "b"}, {"id": "t1", "name": "a"}]}, [("t1", "a"), ("t2", "b")]),
        ({"tasks": ["t1", "t1"]}, [("t1", "")]),
        ({"task_ids": ["t1", 5, None, ".."]}, [("t1", "")]),
        ({"taskIds": ["t1"]}, [("t1", "")]),
        ({"tasks": [{"id": "t1", "name": "a"}], "task_ids": ["t1", "t2"]}, [("t1", "a"), ("t2", "")]),
        ({"files": {"a.pdf": "task_1"}}, [("task_1", "a.pdf")]),
        ({"files": {"b.eml": ["task_2", "task_3"]}}, [("task_2", "b.eml"), ("task_3", "b.eml")]),
        ({"files": {"task_list.pdf": "task_1"}}, [("task_1", "task_list.pdf")]),
        ({"files": {"task_1": "a.pdf", "task_2": {"name": "b.pdf"}}}, [("task_1", "a.pdf"), ("task_2", "b.pdf")]),
        ({"files": {"file_1": {"taskId": "7", "fileName": "a.pdf"}}}, [("7", "a.pdf")]),
        ({"files": {"file_1": {"id": "task_1"}}}, [("task_1", "")]),
        ({"files": [{"name": "a", "tasks": [{"id": "1", "name": "x.pdf"}, "2"]}]}, [("1", "x.pdf"), ("2", "a")]),
        ({"files": {"file_1": {"id": "file_1", "size": 3}, "x": 1}}, []),
        ({"files": {}, "tasks": None}, []),
        ({"files": "nonsense", "tasks": {"a": "b"}, "task_ids": "x"}, []),
    ],
)
def test_tasks_are_found_wherever_an_upload_names_them(upload: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert ids(upload) == expected


@pytest.mark.parametrize(
    ("state", "tasks", "expected"),
    [
        ("PROCESSING", ["COMPLETED"], True),
        ("PROCESSING", [], True),
        ("REVIEWING", ["REVIEWING", "COMPLETED"], False),
        ("REVIEWING", ["REVIEWING", "PROCESSING"], True),
        ("BRAND_NEW", ["COMPLETED"], False),
        ("BRAND_NEW", ["BRAND_NEW"], True),
        ("BRAND_NEW", [], True),
        ("COMPLETED", [], False),
        ("PARTIAL", ["FAILED", "COMPLETED"], False),
        ("FAILED", [], False),
    ],
)
def test_an_upload_may_grow_while_anything_of_it_is_in_progress(state: str, tasks: list[str], expected: bool) -> None:
    upload = {"status": state, "tasks": [{"id": str(number), "status": one} for number, one in enumerate(tasks)]}
    assert may_grow(upload_state(upload), tasks_of(upload, project_id="p")) is expected


# --- tasks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("PROCESSING", RUNNING),
        ("REVIEWING", ServiceTaskState.REVIEWING),
        ("completed", ServiceTaskState.PENDING_START),
        ("FAILED", ServiceTaskState.FAILED),
        ("DISCARDED", ServiceTaskState.DISCARDED),
        ("FILTERED", ServiceTaskState.DISCARDED),
        ("SOMETHING", RUNNING),
        (17, RUNNING),
    ],
)
def test_every_state_of_a_task_is_known(status: Any, expected: ServiceTaskState) -> None:
    task = read_task({"payload": {"id": "task_1", "status": status}}, project_id="p")
    assert task is not None
    assert (task.state, task.project_id) == (expected, "p")


def test_an_unknown_state_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        read_task({"id": "task_1", "status": "NEVER_SEEN_BEFORE"}, project_id="p")
    assert caplog.text.count("NEVER_SEEN_BEFORE") == 1


@pytest.mark.parametrize(
    "error",
    [{"error": "bad scan"}, {"error": {"message": "bad scan"}}, {"message": "bad scan"}, {"errorMessage": "bad scan"}],
)
def test_why_a_task_failed_is_passed_on(error: dict[str, Any]) -> None:
    task = read_task({"id": "t", "status": "FAILED", **error}, project_id="p")
    assert task is not None
    assert task.message == "bad scan"


# --- results ---------------------------------------------------------------------------------------------------------


def annotated(*annotations: Any) -> dict[str, Any]:
    return {"payload": {"id": "t", "pages": [{"annotations": list(annotations)}]}}


def test_annotations_become_fields_with_the_page_they_stand_on() -> None:
    total = {"id": "a", "entity_id": "total_amount", "confidence": 0.98, "content": "$1,234.56"}
    date = {"entityId": "date", "confidence": "0.5", "content": "2024-03-25"}
    document = {"payload": {"id": "t", "pages": [{"annotations": [total]}, {}, {"annotations": [date]}]}}
    assert read_result(document).fields == (
        ResultField("total_amount", "$1,234.56", 0.98, 1),
        ResultField("date", "2024-03-25", 0.5, 3),
    )


def test_the_document_of_a_result_is_the_answer_without_its_envelope() -> None:
    assert read_result({"payload": {"id": "t", "new": [1]}, "message": "ok"}).document == {"id": "t", "new": [1]}
    assert read_result({"id": "t"}).document == {"id": "t"}


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ({"entity_id": "a", "content": None}, []),
        ({"entity_id": "a"}, []),
        ({"entity_id": "a", "content": ""}, [ResultField("a", "", None, 1)]),
        ({"entity_id": "a", "content": 5.5}, [ResultField("a", "5.5", None, 1)]),
        ({"entity_id": "a", "content": True}, [ResultField("a", "true", None, 1)]),
        ({"content": "x", "confidence": "high"}, [ResultField("", "x", None, 1)]),
        ({"entity_id": "a", "content": "x", "confidence": float("nan")}, [ResultField("a", "x", None, 1)]),
        ("nonsense", []),
    ],
)
def test_odd_annotations_are_read_as_far_as_they_go(annotation: Any, expected: list[ResultField]) -> None:
    assert list(read_result(annotated(annotation)).fields) == expected


def test_values_nested_beyond_reason_are_the_tasks_fault() -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = [deep]
    with pytest.raises(TaskFatal):
        read_result({"id": "t", "pages": deep})


# --- requests --------------------------------------------------------------------------------------------------------


def test_meta_is_an_array_of_pairs_and_plain_ascii() -> None:
    meta = meta_of([{"a": "1", "k": "x"}, {"a": "1", "k": "Köln \udcff"}])
    assert meta.isascii()
    assert json.loads(meta) == [
        {"name": "a", "value": "1"},
        {"name": "k", "value": "x"},
        {"name": "k", "value": "Köln \ufffd"},
    ]


def test_a_report_names_its_issues_and_leaves_an_empty_message_out() -> None:
    issue = {"label": "Poor Document Quality", "value": "poor_document_quality"}
    assert report_of(["Poor Document Quality"], "") == {"issues": [issue]}
    assert report_of(["?"], "why")["message"] == "why"
    assert report_of(["?"], "why")["issues"] == [{"label": "?", "value": "?"}]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", "/v2/team%2F1/project/p%3F"),
        ("/v2/{team_id}/project/{project_id}", "/v2/team%2F1/project/p%3F"),
        ("api/{team_id}/", "/api/team%2F1"),
        ("/", ""),
    ],
)
def test_the_prefix_of_paths_is_filled_and_quoted(prefix: str, expected: str) -> None:
    assert project_path(prefix, team_id="team/1", project_id="p?") == expected


def test_ids_cannot_leave_their_place_in_a_path() -> None:
    assert upload_path("../x?y") == "/upload/..%2Fx%3Fy"
    assert task_path("a/b", "complete") == "/task/a%2Fb/complete"
