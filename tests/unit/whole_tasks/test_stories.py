# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof by exhaustion: no verdict about one symbol says an untrue word, whatever happens in a short story."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import Effect
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import evidence, judgment, steps

from .stories import DESIRED, REPLIES, Story, all_stories, play_all

# How often each outcome ends a story. A product that says `unknown` too often changes these numbers.
TALLY = {
    "changed": 44466,
    "unknown": 50471,
    "not_written": 1914,
    "blocked": 776,
    "unchanged": 648,
    "refused": 821,
}
# Responses that leave no doubt, if the reads work.
CLEAR_REPLIES = {"confirmed", "refused by the API", "refused by the API, yet done", "refused in front of the API"}


def count_outcomes(stories: Iterable[Story]) -> tuple[Counter[str], list[str]]:
    """Return how often each outcome ends a story, and a line for each untrue word."""
    tally: Counter[str] = Counter()
    untrue = []
    for story in stories:
        for replies, played in play_all(story, max_writes=2):
            tally[played.verdict.outcome] += 1
            untrue += [f"{story} {replies}: {word}" for word in played.untrue]
    return tally, untrue


def test_no_word_is_untrue_and_unknown_is_not_said_too_often(record_property: Callable[[str, Any], None]) -> None:
    tally, untrue = count_outcomes(all_stories())
    record_property("tally", dict(tally))
    print(f"{sum(tally.values())} stories: {dict(tally)}")
    assert untrue == []
    assert sum(tally.values()) >= 50_000
    assert dict(tally) == TALLY


@pytest.mark.parametrize("enforce", ["exact", "maximum"])
@pytest.mark.parametrize("reply", sorted(REPLIES))
def test_clear_responses_give_a_clear_outcome(reply: str, enforce: str) -> None:
    """Nobody interferes, and every read works. So `unknown` is only for writes that may be carried out later."""
    for position in (False, True):
        for replies, played in play_all(Story(20, enforce, (), position, None), max_writes=1):
            if replies == (reply,) and reply in CLEAR_REPLIES:
                assert played.verdict.outcome != judgment.UNKNOWN


# --- Broken on purpose: each defect is caught ---


def drop(rule: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Remove a rule of the judgment."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        rules = tuple(item for item in judgment.RULES if item.__name__ != rule)
        assert len(rules) == len(judgment.RULES) - 1
        monkeypatch.setattr(judgment, "RULES", (*rules, lambda case: case.build(judgment.UNKNOWN, "none")))

    return patch


def blocked_without_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_blocked(case: Any) -> judgment.Verdict | None:
        return case.build(judgment.BLOCKED, "position") if case.evidence.blockers else None

    replace_rule(monkeypatch, "_may_be_carried_out", is_blocked)


def replace_rule(monkeypatch: pytest.MonkeyPatch, name: str, rule: Callable[[Any], judgment.Verdict | None]) -> None:
    rules = tuple(rule if item.__name__ == name else item for item in judgment.RULES)
    monkeypatch.setattr(judgment, "RULES", rules)


def refused_in_words_without_a_blocker(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_rule(
        monkeypatch,
        "_was_refused_in_words",
        lambda case: case.build(judgment.BLOCKED, "position") if case.possible else None,
    )


def maximum_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (judgment, steps):
        monkeypatch.setattr(module, "complies", lambda leverage, goal: leverage == goal.leverage)


def maximum_accepts_more(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (judgment, steps):
        monkeypatch.setattr(module, "complies", lambda leverage, goal: leverage is not None and leverage <= DESIRED + 5)


def old_reading_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading before a write counts as one after it."""
    real = judgment._Case.__init__

    def init(self: Any, *arguments: Any) -> None:
        real(self, *arguments)
        self.last = self.evidence.get_reading()

    monkeypatch.setattr(judgment._Case, "__init__", init)


def refusal_did_not_reach_the_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence.Attempt, "reached", property(lambda self: self.error is None or self.is_possible))


def unclear_write_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        evidence.Attempt,
        "is_possible",
        property(
            lambda self: self.error is not None and self.error.effect is Effect.POSSIBLE and not self.error.status
        ),
    )


def one_read_back_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that is not confirmed is judged as refused after the first read back."""
    replace_rule(monkeypatch, "_may_be_carried_out", lambda case: None)


DEFECTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "confirmed is not said": drop("_was_confirmed"),
    "unread is not unknown": drop("_has_no_reading"),
    "carried out is not said": drop("_was_carried_out"),
    "unclear is not unknown": one_read_back_is_enough,
    "blocked without the API": blocked_without_the_api,
    "refused in words without a blocker": refused_in_words_without_a_blocker,
    "maximum is exact": maximum_is_exact,
    "maximum accepts more": maximum_accepts_more,
    "an old reading counts": old_reading_counts,
    "a refusal did not reach the exchange": refusal_did_not_reach_the_exchange,
    "a response with a status has no effect": unclear_write_has_no_effect,
}


@pytest.fixture(scope="module")
def sample() -> tuple[list[Story], int]:
    """Return every 17th story, which has all values of each part, and how often they end with `unknown`."""
    stories = list(all_stories())[::17]
    tally, untrue = count_outcomes(stories)
    assert untrue == []
    return stories, tally["unknown"]


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_of_the_judgment_is_caught(
    defect: str, sample: tuple[list[Story], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stories, unknown = sample
    DEFECTS[defect](monkeypatch)
    try:
        tally, untrue = count_outcomes(stories)
    except IndexError:
        # A rule that the others rely on is missing.
        return
    assert untrue or tally["unknown"] > unknown
