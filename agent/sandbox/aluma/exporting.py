"""The export this sandbox makes of a document: a CSV, a JSON, and the document itself (apis.md 1.4, seed 002)."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from typing import TYPE_CHECKING, Any, Final

from agent.sandbox.contents import invoice_number_in, printable

if TYPE_CHECKING:
    from agent.sandbox.aluma.records import TaskEntry
    from agent.sandbox.documents import DocumentContents

_UNSAFE: Final = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_TEXT_LIMIT: Final = 200_000
_LINE_LIMIT: Final = 200
_EXTENSIONS: Final = {"pdf": ".pdf", "tiff": ".tif"}


def make_specification(task: TaskEntry, contents: DocumentContents, *, folder_template: str) -> dict[str, Any]:
    """Return the Export Specification: one document of three files."""
    file_name = _document_name(task.file_name, contents.kind)
    stem = file_name.rpartition(".")[0]
    folder = folder_template.format(
        stem=stem,
        task_name=safe_part(task.name),
        project_name=safe_part(task.project.name),
        kind=contents.kind,
    )
    fields = _fields(file_name, contents)
    url = document_url(task)
    return {
        "documents": [
            {
                "files": [
                    _content_file(folder, f"{stem}.csv", _as_csv(fields)),
                    _content_file(folder, f"{stem}.json", _as_json(fields, contents)),
                    {"folder": folder, "filename": file_name, "source": "url", "content": None, "url": url},
                ]
            }
        ]
    }


def document_url(task: TaskEntry) -> str:
    """Return where a task's document can be had, relative to the API."""
    return f"/file_collections/{task.file_collection_id}/files/{task.document_file_id}"


def exported_files(specification: Any, *, document_sha256: str) -> list[dict[str, str]]:
    """Return what a client is to write for a specification: each file's place and the digest of its UTF-8 bytes.

    A test's own specification may be of any shape; what is no file of one is left out.
    """
    return [
        {
            "folder": str(file.get("folder", "")),
            "filename": str(file.get("filename", "")),
            "source": str(file.get("source", "")),
            "sha256": document_sha256 if file.get("content") is None else _digest(str(file["content"])),
        }
        for document in _objects(specification, "documents")
        for file in _objects(document, "files")
    ]


def _objects(holder: Any, key: str) -> list[dict[str, Any]]:
    held = holder.get(key) if isinstance(holder, dict) else None
    return [each for each in held if isinstance(each, dict)] if isinstance(held, list) else []


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def safe_part(name: str) -> str:
    """Return a name that is one part of a path everywhere."""
    last = re.split(r"[/\\]", name)[-1]
    return _UNSAFE.sub("_", last).rstrip(". ").lstrip() or "document"


def _document_name(file_name: str, kind: str) -> str:
    """Return the name of the exported document; its extension is never that of the data beside it."""
    safe = safe_part(file_name)
    stem, dot, extension = safe.rpartition(".")
    if not (dot and stem) or extension.lower() in {"csv", "json"}:
        return safe + _EXTENSIONS[kind]
    return safe


def _content_file(folder: str, filename: str, content: str) -> dict[str, Any]:
    return {"folder": folder, "filename": filename, "source": "content", "content": content, "url": None}


def _fields(file_name: str, contents: DocumentContents) -> dict[str, Any]:
    text = contents.text
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return {
        "file_name": file_name,
        "kind": contents.kind,
        "pages": contents.pages,
        "words": len(text.split()),
        "first_line": printable(first[:_LINE_LIMIT]),
        "invoice_number": invoice_number_in(text),
    }


def _as_csv(fields: dict[str, Any]) -> str:
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(fields), lineterminator="\n")
    writer.writeheader()
    writer.writerow(fields)
    return table.getvalue()


def _as_json(fields: dict[str, Any], contents: DocumentContents) -> str:
    return json.dumps({**fields, "text": printable(contents.text[:_TEXT_LIMIT])}, ensure_ascii=False, indent=2) + "\n"
