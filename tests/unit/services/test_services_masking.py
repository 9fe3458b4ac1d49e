"""What no message repeats: secrets and tokens, in every form an answer may quote them."""

from __future__ import annotations

import html
import json
from urllib.parse import quote, quote_plus

import pytest

from agent.services.masking import MASK, TOKENS_KEPT, Masking

SECRET = "canary \"yellow' & <b> \\ \u00fc\U0001f424 %41/+"
FORMS = {
    "as it is": SECRET,
    "JSON": json.dumps(SECRET),
    "JSON with other letters": json.dumps(SECRET, ensure_ascii=False),
    "HTML": html.escape(SECRET),
    "HTML text": html.escape(SECRET, quote=False),
    "address": quote(SECRET, safe=""),
    "form": quote_plus(SECRET),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_secret_is_masked_in_every_form(form: str) -> None:
    said = Masking([SECRET]).over(f"input was {form}, twice {form}".encode())
    assert said.decode().replace('"', "") == "input was ***, twice ***"


def test_a_token_is_masked_once_it_was_sent() -> None:
    masking = Masking([])
    before = masking.over(b"Bearer abcdefgh-1")
    masking.add("abcdefgh-1")
    assert (before, masking.over(b"Bearer abcdefgh-1")) == (b"Bearer abcdefgh-1", b"Bearer " + MASK)


def test_only_the_last_tokens_are_remembered_and_none_twice() -> None:
    masking = Masking([])
    tokens = [f"token-{number:04}" for number in range(TOKENS_KEPT + 1)]
    for token in [*tokens, *tokens[2:] * 3]:
        masking.add(token)
    assert [masking.over(token.encode()) == MASK for token in tokens] == [False, *[True] * TOKENS_KEPT]


def test_short_words_are_no_secrets() -> None:
    assert Masking(["", "in"]).over(b"nothing in it") == b"nothing in it"


def test_a_secret_within_another_leaves_nothing_of_either() -> None:
    masking = Masking(["sesame-open", "sesame-open-please"])
    assert b"please" not in masking.over(json.dumps("say sesame-open-please").encode())
