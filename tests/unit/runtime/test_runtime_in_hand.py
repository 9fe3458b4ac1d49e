"""Rows in hand: nobody takes what another holds, and what the ledger gave twice is held until both let go."""

from __future__ import annotations

from agent.runtime.in_hand import InHand


def test_what_somebody_has_cannot_be_taken() -> None:
    in_hand = InHand()
    assert in_hand.take("a")
    assert not in_hand.take("a")
    assert ("a" in in_hand, len(in_hand)) == (True, 1)


def test_what_was_given_back_can_be_taken_again() -> None:
    in_hand = InHand()
    in_hand.take("a")
    in_hand.release("a")
    assert in_hand.take("a")


def test_a_file_put_back_by_one_worker_and_claimed_by_another_stays_in_hand_when_the_first_lets_go() -> None:
    in_hand = InHand()
    in_hand.hold("a")
    in_hand.hold("a")
    in_hand.release("a")
    assert ("a" in in_hand, len(in_hand)) == (True, 1)
    in_hand.release("a")
    assert ("a" in in_hand, len(in_hand)) == (False, 0)
