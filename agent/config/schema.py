"""Every key of the configuration with its type, default and one-sentence description.

The models serve the loader, the JSON Schema for editors and the commented sample; what concerns several keys at once
is in `checking`.
"""

# ruff: noqa: TC001 -- pydantic evaluates the annotations when the models are made
from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from agent.config.fields import (
    Count,
    DocumentTypeText,
    Duration,
    DurationOrNever,
    Encoding,
    LedgerText,
    Listen,
    Mode,
    Name,
    Number,
    ObserverText,
    OnConflictText,
    PathPrefix,
    PathText,
    Pattern,
    Proxy,
    ReadyFile,
    ScopeText,
    ServiceTypeText,
    Size,
    SizeOrNever,
    TagName,
    Template,
    Text,
    Url,
    WebhookSecret,
)
from agent.config.variables import REFERENCE_PATTERN

_REQUIRED: Any = ...


def _key(default: Any, description: str) -> Any:
    return Field(default=default, description=description)


class Section(BaseModel):
    """Keys that belong together; unknown ones are errors, defaults pass the same checks as what people write."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)

    groups: ClassVar[dict[str, str]] = {}
    """Headings of the sample, by the key they stand before."""


# `retry:` with every key below it commented out is null in YAML and means the defaults.
_OR_EMPTY = BeforeValidator(lambda value: {} if value is None else value)


class ServiceSection(Section):
    """The service documents are sent to, and how it is reached."""

    type: ServiceTypeText = _key("aluma", "aluma | sendai | typless")
    url: Url | None = _key(None, "address of the service, null: its usual one; http:// only to this machine")
    insecure_http: bool = _key("false", "true: allow http:// to other machines too, which shows secrets to the network")
    client_id: Text | None = _key(None, "id of the API client")
    client_secret: Text | None = _key(None, "secret of the API client, better by a variable than written here")
    client_secret_file: PathText | None = _key(None, "instead of client_secret: a file with nothing but the secret")
    team_id: Text | None = _key(None, "sendai: the team the projects belong to")
    path_prefix: PathPrefix = _key("/v2/{team_id}/project/{project_id}", "sendai: what stands before /upload and /task")
    api_key: Text | None = _key(None, "sendai, typless: the key, better by a variable than written here")
    api_key_file: PathText | None = _key(None, "instead of api_key: a file with nothing but the key")
    on_unknown: Literal["hold", "resubmit"] = _key(
        "hold", "hold | resubmit: sendai, typless: a lost answer that cannot be looked up"
    )
    lookup_by_customer: bool = _key("false", "typless: true: find a lost answer by a `customer` of its own")
    webhook_secret: WebhookSecret | None = _key(
        None, "typless: 16 URL-safe characters or more: opens /webhooks/typless/… on web.listen"
    )
    timeout: Duration = _key("60s", "silence on a connection; a whole request has 10m + size / min_speed")
    min_speed: Size = _key("16KiB", "per second; what is slower for long is given up")
    connections: Count = _key("4", "uploads at once")
    max_requests_per_second: Number = _key("0", "0: no limit of ours")
    lease: Duration = _key("30m", "how long the service leaves a started export to us")
    ca_file: PathText | None = _key(None, "certificates to trust instead of the usual ones (PEM)")
    proxy: Proxy | None = _key(None, "http://host:port; null: what HTTPS_PROXY and NO_PROXY say")


class ExportSection(Section):
    """How exported files are written."""

    scope: ScopeText | None = _key(None, "own (this ledger's tasks) | project; null: own, project without an inbox")
    newline: Literal["native", "lf", "crlf"] = _key("native", "native | lf | crlf, for `content` files")
    encoding: Encoding = _key("utf-8", "of `content` files; utf-8-sig for Excel, cp1252 …")
    on_conflict: OnConflictText = _key("rename", "rename | overwrite | fail: the target exists and is not this task's")
    file_mode: Mode = _key("inherit", "or octal such as 0640; inherit: what a file newly made there would have")
    folder_mode: Mode = _key("inherit", "likewise for folders, such as 0750")
    poll_min: Duration = _key("1s", "between looks for finished tasks, after a round that found some")
    poll_max: Duration = _key("30s", "between looks for finished tasks, after a long time without")
    retry_delay: Duration = _key("5m", "after a transient error of one task")
    max_attempts: Count = _key("10", "errors of one task alone before on_exhausted decides")
    on_exhausted: Literal["hold", "fail"] = _key("hold", "hold (kept for the operator) | fail")
    archive: PathText | None = _key(None, 'a copy of each export below this folder, e.g. "archive"')
    error: PathText = _key("error", "notes about failed exports; below the output unless absolute")
    workers: Count = _key("4", "exports at once")
    formats: tuple[Literal["json", "csv"], ...] = _key(("json", "csv"), "sendai, typless: files made of a result")


class WatchFolderSection(Section):
    """An inbox, an output folder, or both, and the project they belong to."""

    groups: ClassVar[dict[str, str]] = {
        "include": "detection",
        "accept": "checks before sending",
        "task_name": "submission",
        "export": "export",
    }

    name: Name | None = _key(None, "unique, its identity in the ledger; null: the inbox folder's name")
    formerly: tuple[Name, ...] = _key((), "earlier names")
    project_id: Text | None = _key(None, "project of the service the documents belong to")
    document_type_name: Text | None = _key(None, "typless, instead of project_id: the kind of documents")
    inbox: PathText | None = _key(None, "folder documents are dropped into; null: export only")
    output: PathText | None = _key(None, "folder exports are written to; null: submit only")

    include: tuple[Pattern, ...] = _key(
        ("*.pdf", "*.tif", "*.tiff"), "case-insensitive; a pattern with / matches the relative path"
    )
    exclude: tuple[Pattern, ...] = _key((), "beside dot files, ~$*, *.tmp *.part and other junk")
    unmatched: Literal["leave", "error"] = _key("leave", "leave (counted in status) | error: what no include matches")
    recursive: bool = _key("true", "look into folders below the inbox too")
    settle: Duration = _key("2s", "size and time unchanged for so long: the file is complete")
    ready_file: ReadyFile | None = _key(None, 'e.g. "{file_name}.ready": wait for it; it goes along with the file')
    observer: ObserverText = _key("auto", "native | polling | auto: how changes are noticed beside the scan")
    poll_interval: Duration = _key("5s", "between looks where changes are polled")
    rescan: Duration = _key("1m", "full scan beside native events: the scan is the truth, events are hints")

    accept: tuple[DocumentTypeText, ...] = _key(("pdf", "tiff"), "by content; more: jpeg png office email text zip")
    stalled_after: Duration = _key(
        "60s", "since the last change; what is not whole, locked or unreadable shows as stalled"
    )
    give_up_after: DurationOrNever = _key("30m", "what is not whole goes to error then; locked files stay")
    truncated: Literal["error", "submit"] = _key("error", "error | submit: what is still not whole then")
    max_size: SizeOrNever = _key(
        "2GiB", "larger files go to error; never: no limit; not set: sendai 40MB, typless 30MB"
    )
    hard_links: Literal["check", "allow"] = _key("check", "check | allow: files with more than one name")
    on_duplicate: Literal["submit", "skip"] = _key("submit", "submit | skip: same content already accepted here")

    task_name: Template = _key("{file_name}", "also {stem} {relative_path} {watch_folder}")
    tags: Annotated[dict[TagName, Template], _OR_EMPTY] = _key({}, "more tags, same placeholders")
    send_path: bool = _key("true", "the file_path tag")
    batch: Literal["file", "folder"] = _key("file", "sendai: file | folder: what one upload holds; folder: up to 100")
    meta: Annotated[dict[Text, Text], _OR_EMPTY] = _key({}, "sendai: pairs sent along with each upload")
    customer: Text | None = _key(None, "typless: whom the usage is reported for")
    after_submit: Literal["archive", "delete"] = _key(
        "archive", "archive | delete (from archive, once its export is durable)"
    )
    archive: PathText = _key("archive", "below the inbox unless absolute")
    error: PathText = _key("error", "below the inbox unless absolute")
    archive_keep: DurationOrNever = _key(
        "never", "since filing, e.g. 30d, then deleted; never a file whose task is open"
    )
    error_keep: DurationOrNever = _key("never", "likewise in error")

    export: Annotated[ExportSection, _OR_EMPTY] = _key({}, "how exported files are written")


class RetrySection(Section):
    """What happens when the service as a whole is in trouble."""

    first: Duration = _key("1s", "first wait; doubles up to max")
    max: Duration = _key("5m", "longest wait, but for what the service asks for")
    unknown_wait: Duration = _key("10m", "quiet time before a submission of unknown outcome may be sent again")


class WebSection(Section):
    """What the agent serves by HTTP: webhooks; a status page is not yet supported."""

    listen: Listen | None = _key(None, "address for webhooks, null: off; a status page is not yet supported")
    token_file: PathText | None = _key(None, "the token of a status page, not yet supported")


class LoggingSection(Section):
    """What the agent writes about its work."""

    level: Literal["debug", "info", "warning", "error"] = _key("info", "debug | info | warning | error")
    format: Literal["text", "json"] = _key("text", "text | json")
    file: PathText | None = _key(None, "null: standard error")
    max_size: Size = _key("10MB", "of the file before a new one is begun")
    backups: Count = _key("5", "older files kept")


class Configuration(Section):
    """The configuration of fsagent."""

    service: Annotated[ServiceSection, _OR_EMPTY] = _key(_REQUIRED, "the service documents are sent to")
    state_dir: PathText | None = _key(None, "ledger and lock, on a local disk; null: the platform's usual place")
    ledger: LedgerText = _key("sqlite", "sqlite; postgresql://user@host/db is not yet supported")
    watch_folders: tuple[WatchFolderSection, ...] = _key(_REQUIRED, "inboxes and outputs, each pair with its project")
    retry: Annotated[RetrySection, _OR_EMPTY] = _key({}, "when the service as a whole is in trouble")
    min_free: Size = _key("100MB", "space left on the disks of ledger, exports and archive")
    web: Annotated[WebSection, _OR_EMPTY] = _key({}, "webhooks; a status page is not yet supported")
    logging: Annotated[LoggingSection, _OR_EMPTY] = _key({}, "what the agent writes about its work")
    history_keep: DurationOrNever = _key("90d", "of what is finished; what is not is never purged")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the file, for editors; every value may hold `${NAME}`."""
    schema = Configuration.model_json_schema()
    for section in [schema, *schema["$defs"].values()]:
        for name, described in section["properties"].items():
            section["properties"][name] = _for_editors(described)
        section.pop("title", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fsagent configuration",
        **schema,
    }


def _for_editors(described: dict[str, Any]) -> dict[str, Any]:
    """Return a property without generated titles; what is no text may be given by a variable instead."""
    described.pop("title", None)
    if "default" in described:
        described["default"] = _as_yaml(described["default"], described.get("type"))
    notes: dict[str, Any] = {name: described.pop(name) for name in ("default", "description") if name in described}
    if described.get("type") in {"boolean", "integer", "number"} or "enum" in described:
        described = {"anyOf": [described, {"type": "string", "pattern": REFERENCE_PATTERN}]}
    elif "$ref" in described or described.get("type") == "object":
        described = {"anyOf": [described, {"type": "null"}]}
    elif {"enum"} & {name for choice in described.get("anyOf", ()) for name in choice}:
        described["anyOf"].append({"type": "string", "pattern": REFERENCE_PATTERN})
    elif described.get("type") == "array" and "enum" in described["items"]:
        described["items"] = {"anyOf": [described["items"], {"type": "string", "pattern": REFERENCE_PATTERN}]}
    return {**notes, **described}


def _as_yaml(default: Any, kind: str | None) -> Any:
    """Return a default as YAML 1.2 reads it: the models hold the text that stands in the file."""
    if kind == "boolean":
        return default == "true"
    if kind in {"integer", "number"}:
        return int(default)
    return default
