"""Commands that look at folders: an answer is passed on, an error too, and silence is told."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from agent.cli.patience import answered
from agent.errors import AgentError, UserError


def test_an_answer_is_passed_on() -> None:
    assert answered(lambda: 7, "a.pdf") == 7


def test_what_a_look_raises_is_raised() -> None:
    def unknown() -> None:
        raise UserError("no such file")

    with pytest.raises(UserError, match="no such file"):
        answered(unknown, "a.pdf")


def test_a_share_that_says_that_it_timed_out_is_not_silent() -> None:
    def timed_out() -> None:
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    with pytest.raises(TimeoutError, match=os.strerror(errno.ETIMEDOUT)):
        answered(timed_out, "a.pdf")


def test_a_folder_that_does_not_answer_is_told_and_not_waited_for() -> None:
    goes_on = threading.Event()
    try:
        with pytest.raises(AgentError, match=r"a\.pdf: its folder has not answered for 0\.05 s") as told:
            answered(goes_on.wait, "a.pdf", patience=0.05)
        assert "share is connected" in told.value.hint
    finally:
        goes_on.set()
