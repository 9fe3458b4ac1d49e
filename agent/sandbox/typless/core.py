"""The sandbox of Typless itself: extractions and how they end (apis.md 3.2), without HTTP."""

from __future__ import annotations

import hmac
import secrets
from collections import deque
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.sandbox.contents import find_values, glance_at, read_contents
from agent.sandbox.driven import DrivenService, Job
from agent.sandbox.refusals import Refusal, bad_request, unauthorized
from agent.sandbox.typless.assumptions import PROCESSED_KINDS
from agent.sandbox.typless.records import Extraction, insight, poll_document
from agent.sandbox.typless.settings import ExtractionStatus, Fate, TyplessSettings

if TYPE_CHECKING:
    from agent.sandbox.clock import WallClock
    from agent.sandbox.storage import StoredDocument

_ID_BYTES = 20
_LOOK = 0.25
"""Real seconds between two looks for what is due, where nobody tells that a clock was moved."""


class Notice(NamedTuple):
    """A webhook to be sent."""

    url: str
    extraction: Extraction
    body: dict[str, Any]


class TyplessSandbox(DrivenService):
    """The service's state. Any thread may call anything; what cannot be raises Refusal."""

    def __init__(self, settings: TyplessSettings, *, clock: WallClock) -> None:
        super().__init__(clock=clock)
        self.settings = settings
        self._read = read_contents if settings.read_documents else glance_at
        self._extractions: dict[str, Extraction] = {}
        self._fates = list(settings.fates)
        self._webhook_url = settings.webhook_url
        self._is_cut_off = False
        self._notices: deque[Notice] = deque()

    def check_key(self, authorization: str | None) -> None:
        """Accept an Authorization header. Raises Refusal (401)."""
        if authorization is None:
            raise unauthorized("Authentication credentials were not provided.", scheme="Token")
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "token" or not hmac.compare_digest(key.encode(), self.settings.api_key.encode()):
            raise unauthorized("Invalid token.", scheme="Token")

    # --- extractions ------------------------------------------------------------------------------------------------

    def check_document_type(self, name: str) -> None:
        """Accept the name of a document type. Raises Refusal (400)."""
        if name not in self.settings.document_types:
            raise bad_request("unknown_document_type", "There is no document type of this name.")

    def extract(
        self, document: StoredDocument, *, file_name: str, document_type_name: str, customer: str | None
    ) -> str:
        """Return the id of a new extraction."""
        with self._up_to_date() as now:
            extraction = Extraction(
                id=secrets.token_hex(_ID_BYTES),
                object_id=secrets.token_hex(_ID_BYTES),
                file_name=file_name,
                document_type_name=document_type_name,
                customer=customer,
                document=document,
                created=now,
            )
            self._extractions[extraction.id] = extraction
            job = Job(extraction.id, document, self._read, finish=lambda at: self._finish(extraction, job, at))
            self._start(job, due=now + self.settings.extraction_delay)
            return extraction.id

    def _finish(self, extraction: Extraction, job: Job, at: float) -> None:
        """End an extraction whose time is over and whose document was read."""
        extraction.finished = at
        fate = self._fate(extraction, job)
        extraction.status = fate.status
        if fate.status is ExtractionStatus.ERROR:
            extraction.error = {"code": fate.code, "message": fate.message, "details": fate.details}
        elif fate.status is ExtractionStatus.SUCCESS:
            assert job.contents is not None  # else its fate is an error
            extraction.found = find_values(extraction.file_name, job.contents)
            extraction.replaced = self.faults.specification(extraction.file_name, document="")
        self._plan(at + self.settings.lifetime, lambda _: self._expire(extraction))
        self._notify(extraction, at)

    def _fate(self, extraction: Extraction, job: Job) -> Fate:
        name = extraction.file_name
        fitting = [fate for fate in self._fates if fnmatchcase(name, fate.file_name)]
        is_readable = job.contents is not None and job.contents.kind in PROCESSED_KINDS
        if fitting and (is_readable or fitting[-1].status is not ExtractionStatus.SUCCESS):
            return fitting[-1]
        if is_readable:
            return Fate(name, ExtractionStatus.SUCCESS)
        return Fate(name, ExtractionStatus.ERROR, details=job.message or "The type of the file is not supported.")

    @staticmethod
    def _expire(extraction: Extraction) -> None:
        extraction.status = ExtractionStatus.EXPIRED
        extraction.error = {}
        extraction.found = extraction.replaced = None

    def poll(self, extraction_id: str, *, is_v1: bool) -> dict[str, Any]:
        """Return what has become of an extraction. Raises Refusal (404 or 400)."""
        with self._up_to_date():
            extraction = self._extractions.get(extraction_id)
            if extraction is None:
                raise Refusal(self.settings.unknown_status, "not_found", "There is no extraction with this id.")
            extraction.calls[extraction.status.value] += 1
            return poll_document(extraction, confidence_as_text=self.settings.confidence_as_text, is_v1=is_v1)

    def waiting(self, *, customer: str | None) -> list[str]:
        """Return the ids of what may be polled, oldest first; `customer` None: of everybody."""
        with self._up_to_date():
            return [
                extraction.id
                for extraction in self._extractions.values()
                if customer in (None, extraction.customer)
                and extraction.status is not ExtractionStatus.EXPIRED
                and not (self.settings.waiting_drops_polled and extraction.calls[extraction.status.value])
            ]

    # --- webhooks ---------------------------------------------------------------------------------------------------

    def _notify(self, extraction: Extraction, at: float) -> None:
        is_told = extraction.status is ExtractionStatus.SUCCESS or self.settings.webhook_on_error
        if self._webhook_url is None or not is_told:
            return
        if self._is_cut_off:
            extraction.webhook = "cut off"
            return
        body = {
            "event_id": secrets.token_hex(_ID_BYTES),
            "event_time": datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat(timespec="microseconds"),
            "type": "extraction.finished",
            "data": {"id": extraction.id, "message": "Extraction process finished"},
        }
        self._notices.append(Notice(self._webhook_url, extraction, body))
        self._changed.notify_all()

    def set_webhook(self, url: str | None) -> None:
        """Say where webhooks go from now on; None: nowhere."""
        with self._changed:
            self._webhook_url = url
            self._changed.notify_all()

    def cut_webhooks_off(self, *, cut_off: bool) -> None:
        """Let webhooks be lost from now on, or no longer."""
        with self._changed:
            self._is_cut_off = cut_off

    def next_notice(self) -> Notice | None:
        """Wait for the next webhook to be sent, carrying out what becomes due; None: the sandbox closes."""
        with self._changed:
            while not self._closed:
                with self._up_to_date() as now:
                    if self._notices:
                        return self._notices.popleft()
                    until_due = self._due[0].at - now if self._due else None
                if self._webhook_url is None:
                    self._changed.wait()  # without webhooks nobody needs to look before somebody asks
                else:
                    self._changed.wait(_LOOK if until_due is None else max(0.001, min(_LOOK, until_due)))
            return None

    def record_notice(self, notice: Notice, outcome: str) -> None:
        """Note what came of a webhook."""
        with self._changed:
            notice.extraction.webhook = outcome
            self._changed.notify_all()

    # --- tests ------------------------------------------------------------------------------------------------------

    def add_fate(self, fate: Fate) -> None:
        """Decide how files of a name end from now on."""
        with self._changed:
            self._fates.append(fate)

    def describe(self) -> list[dict[str, Any]]:
        """Return all that is known of every extraction, oldest first."""
        with self._up_to_date():
            return [insight(extraction) for extraction in self._extractions.values()]
