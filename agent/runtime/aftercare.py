"""The aftercare loop: what was begun with the service and concerns no folder in particular.

Uploads nobody holds any more, ends of tasks, and rows kept long enough. What needs a folder is `folder_care`'s: a dead
share must not keep this thread.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from agent.errors import ServiceTrouble
from agent.model import Event, FileState
from agent.rules.lifecycle import after_restart
from agent.rules.naming import for_display

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.runtime.parts import Parts

logger = logging.getLogger(__name__)

PAUSE = 1.0
LEFT_FOR = 1.0
"""Seconds an upload must be in nobody's hand before it is believed left: a worker claims first and takes then."""
FOLLOW_EVERY = 15.0
"""Seconds between two looks for ended tasks (design.md §3.6: 30 at most); sooner where `poll_max` is shorter."""
FORGET_EVERY = 60.0
"""Seconds between two times of forgetting, and from the start to the first: archive/ and error/ are purged before."""
PURGED_WITHIN = 24 * 3600.0
"""Seconds that what was kept long enough in archive/ or error/ may still lie there: its share may be away."""
LOST_ANSWER = "the agent stopped while it was sent: the service is asked whether it arrived"


class Aftercare:
    """Finishes what was begun; `step` runs in the thread that owns it."""

    def __init__(self, parts: Parts, *, made_ready: Callable[[], None]) -> None:
        self._parts = parts
        self._made_ready = made_ready
        self._clock = parts.clock
        self._follow_every = min([FOLLOW_EVERY, *(folder.export.poll_max for folder in parts.settings.watch_folders)])
        self._next_follow = 0.0
        self._next_forget = self._clock.monotonic() + FORGET_EVERY
        self._left_since: dict[str, float] = {}
        self.follows_done = 0
        """Looks for ended tasks so far."""

    def step(self) -> float:
        """Do what is due and return the seconds until the next look."""
        self.recover_uploads()
        if self._clock.monotonic() >= self._next_follow and self._parts.lanes.service.enter():
            self._follow()
        self._forget()
        return PAUSE

    def recover_uploads(self, *, at_start: bool = False) -> None:
        """Give back what says `sending` and is in nobody's hand: a crash, or a ledger that could not be written."""
        now = self._clock.monotonic()
        left = {
            record.key
            for record in self._parts.ledger.find_files(states=[FileState.SENDING])
            if record.key not in self._parts.files_in_hand
        }
        self._left_since = {key: self._left_since.get(key, now) for key in left}
        for key, since in self._left_since.items():
            if at_start or now - since >= LEFT_FOR:
                self._recover_upload(key)

    def _recover_upload(self, key: str) -> None:
        current = self._parts.ledger.file(key)
        if current is None or current.state is not FileState.SENDING or key in self._parts.files_in_hand:
            return
        state = after_restart(current)
        now = self._clock.now()
        detail = "the agent stopped before it was sent" if state is FileState.WAITING else LOST_ANSWER
        changed = current.change(
            state=state, claimed_by="", state_at=now, detail=detail, look_at=self._clock.monotonic(), ready=False
        )
        event = Event(now, current.watch_folder, f"recovered as {state.value}", detail, current.key)
        self._parts.ledger.commit(changed, event)
        logger.info("%s: %s: %s", current.watch_folder, for_display(current.relative_path), detail)
        self._made_ready()

    def _follow(self) -> None:
        service = self._parts.lanes.service
        try:
            asked = self._parts.follow.work(exports=self._parts.exports)
            self._next_follow = self._clock.monotonic() + self._follow_every
            self.follows_done += 1
        except ServiceTrouble as trouble:
            service.failed(trouble)
        except BaseException:
            service.leave()
            raise
        else:
            # Only an answer opens a lane; a look that asked nothing says nothing about the service.
            if asked:
                service.succeeded()
            else:
                service.leave()

    def _forget(self) -> None:
        """Forget what is finished, but nothing that a later purge of archive/ or error/ has to know."""
        settings = self._parts.settings
        if settings.history_keep is None or self._clock.monotonic() < self._next_forget:
            return
        self._next_forget = self._clock.monotonic() + FORGET_EVERY
        keeps = [keep for folder in settings.watch_folders for keep in (folder.archive_keep, folder.error_keep)]
        keep = max([settings.history_keep, *(keep + PURGED_WITHIN for keep in keeps if keep is not None)])
        self._parts.ledger.purge(before=self._clock.now() - keep)
