"""What a refusal says: every form of error that the services document, with all of its parts (seed 004, apis.md)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.services.answers import Answer, sentence


def said(document: Any) -> str:
    return sentence(Answer(422, {}, json.dumps(document).encode())).partition(": ")[2]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"code": "invalid_file", "message": "Not a PDF.", "details": "page 0"}, "invalid_file; Not a PDF.; page 0"),
        ({"code": 4001, "message": "Not a PDF.", "details": ""}, "4001; Not a PDF."),
        ({"code": 4001, "message": "Not a PDF.", "details": {"page": 0}}, "4001; Not a PDF.; page: 0"),
        ({"code": "x", "message": "y", "details": {"file": ["too large", "blank"]}}, "x; y; file: too large; blank"),
        ({"code": "x", "message": "y", "details": {}}, "x; y"),
        ({"code": "x", "message": "y", "details": []}, "x; y"),
        ({"code": None, "message": "y", "details": None}, "y"),
    ],
)
def test_code_message_and_details_are_told_whatever_their_types(document: Any, expected: str) -> None:
    assert said(document) == expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"type": "https://x/y", "title": "No such project", "status": 422, "instance": "/e/1"}, "No such project"),
        ({"title": "Invalid", "errors": {"project_id": ["is required"]}}, "Invalid; project_id: is required"),
        (
            {"message": "Validation failed", "requestErrors": {"a": ["is required"]}},
            "Validation failed; a: is required",
        ),
        ({"error": {"message": "no access", "code": 7}}, "no access"),
        ({"detail": [{"loc": ["body", "file"], "msg": "not base64", "type": "value"}]}, "not base64"),
        ({"error": True}, '{"error": true}'),
        ({"unheard": "of"}, '{"unheard": "of"}'),
    ],
)
def test_every_other_documented_form_is_told_too(document: Any, expected: str) -> None:
    assert said(document) == expected


def test_an_error_made_to_exhaust_is_cut() -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = {"y": deep}
    assert len(said({"code": "c", "details": deep})) < 400
    assert len(said({"code": "c", "details": {str(number): "x" * 50 for number in range(10_000)}})) < 400
