# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every short story of one symbol, in memory: what the exchange answers, and what another program does meanwhile.

A story runs `next_step` and `judge` against a world that knows what is really in force. `play` then says whether each
word of the verdict is true.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    CoinSwitchError,
    KeysRefused,
    NotConfigured,
    RateLimited,
    Refused,
    Unclear,
    Unconfirmed,
    Unexpected,
    Unreachable,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import judgment, steps
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import (
    Attempt,
    Evidence,
    Pause,
    Reading,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import Goal

DESIRED = 10
CLAMPED = 15
RETRIES = 1
MAX_STEPS = 40


class Reply(NamedTuple):
    """How the exchange answers a write.

    Attributes:
        error: The error that the client raises. None for a response that repeats the desired leverage.
        applied: After how many further requests the write is carried out. None: never.
        value: The leverage that is then in force, instead of the desired one.
    """

    error: CoinSwitchError | None
    applied: int | None = None
    value: int | None = None


def _refuse(status: int, is_from_api: bool = True) -> Refused:
    return Refused(status, "no", "POST", is_from_api)


REPLIES = {
    "confirmed": Reply(None, 0),
    "lost, done": Reply(Unclear("lost"), 0),
    "lost, done one request later": Reply(Unclear("lost"), 1),
    "lost, done two requests later": Reply(Unclear("lost"), 2),
    "lost, done after the task": Reply(Unclear("lost"), 99),
    "lost, not done": Reply(Unclear("lost")),
    "202, done later": Reply(Unconfirmed("Accepted", 202), 1),
    "202, done after the task": Reply(Unconfirmed("Accepted", 202), 99),
    "202, not done": Reply(Unconfirmed("Accepted", 202)),
    "200 with a message, not done": Reply(Unconfirmed("no", 200, is_refusal=True)),
    "200 with a message, done": Reply(Unconfirmed("ok", 200, is_refusal=True), 0),
    "refused by the API": Reply(_refuse(400)),
    "refused by the API, yet done": Reply(_refuse(400), 0),
    "refused in front of the API": Reply(_refuse(403, is_from_api=False)),
    "500 before": Reply(Unclear("500", 500)),
    "500, done after the task": Reply(Unclear("500", 500), 99),
    "500 after": Reply(Unclear("500", 500), 0),
    "408": Reply(Unclear("408", 408)),
    "redirect, done": Reply(_refuse(302, is_from_api=False), 0),
    "redirect": Reply(_refuse(302, is_from_api=False)),
    "no JSON, done": Reply(Unclear("no JSON", 200), 0),
    "no JSON": Reply(Unclear("no JSON", 200)),
    "429": Reply(RateLimited()),
    "401": Reply(KeysRefused("401")),
    "wrong echo, done": Reply(Unconfirmed("7", 200), 0),
    "clamped": Reply(Unconfirmed("15", 200), 0, CLAMPED),
    "clamped below": Reply(Unconfirmed("7", 200), 0, 7),
    "unsent": Reply(Unreachable("no connection")),
}
# What a read can do: work, fail, or be ambiguous. After the sequence, every read works.
READS: tuple[tuple[str, ...], ...] = (
    (),
    ("fail",),
    ("", "fail"),
    ("", "ambiguous"),
    ("", "fail", "fail"),
    ("", "", "fail"),
)
FAILURES: dict[str, CoinSwitchError] = {
    "fail": Unclear("lost"),
    "ambiguous": Unexpected("1_0"),
    # During a maintenance, a refused read looks like that of a symbol that was never configured.
    "refused": NotConfigured("maintenance", 400, "maintenance"),
}


class Story(NamedTuple):
    """A story, without the responses to the writes.

    Attributes:
        before: The leverage at the start. None: never configured.
        enforce: "exact" or "maximum".
        reads: What the first reads do. After them, all reads work.
        position: Whether the symbol has an open position.
        other: Another program: before which request it sets which leverage. None: there is none.
    """

    before: int | None
    enforce: str
    reads: tuple[str, ...]
    position: bool
    other: tuple[int, int] | None


class World:
    """The exchange: what is in force, and which writes are still to be carried out."""

    def __init__(self, story: Story, replies: tuple[str, ...]) -> None:
        self.leverage = story.before
        self.story = story
        self.replies = replies
        self.requests = 0
        self.reads = 0
        self.writes = 0
        # (before which request, which leverage)
        self.pending: list[tuple[int, int]] = []
        self.carried_out = 0
        # Whether a write was carried out that nobody has observed yet.
        self.is_unobserved = False
        # The leverage in force at the last reading that worked, or at the last confirmed write.
        self.seen: int | None = None
        # Whether the API itself refused a write.
        self.was_refused_by_the_api = False

    def advance(self) -> None:
        """Let another program and late writes act before the next request."""
        self.requests += 1
        if self.story.other and self.story.other[0] == self.requests:
            self.leverage = self.story.other[1]
        for item in [item for item in self.pending if item[0] <= self.requests]:
            self.pending.remove(item)
            self._carry_out(item[1])

    def _carry_out(self, leverage: int) -> None:
        self.leverage = leverage
        self.carried_out += 1
        self.is_unobserved = True

    def read(self) -> Reading:
        self.advance()
        number, self.reads = self.reads, self.reads + 1
        problem = self.story.reads[number] if number < len(self.story.reads) else ""
        if problem:
            return Reading(self.requests, failure=FAILURES[problem])
        self.is_unobserved = False
        self.seen = self.leverage
        if self.leverage is None:
            return Reading(self.requests, unset=NotConfigured("never"))
        return Reading(self.requests, self.leverage)

    def write(self) -> CoinSwitchError | None:
        self.advance()
        reply = REPLIES[self.replies[self.writes]]
        self.writes += 1
        value = DESIRED if reply.value is None else reply.value
        if reply.applied == 0:
            self._carry_out(value)
            self.is_unobserved = reply.error is not None
        elif reply.applied:
            self.pending.append((self.requests + reply.applied, value))
        if reply.error is None:
            self.seen = self.leverage
        elif reply.error.is_from_api:
            self.was_refused_by_the_api = True
        return reply.error


class NeedsReply(Exception):
    """The story needs one more response to a write."""


class Played(NamedTuple):
    """The end of a story: the verdict, the world, and each word that is not true."""

    verdict: judgment.Verdict
    evidence: Evidence
    world: World
    untrue: list[str]


class _Play:
    """The run of one story."""

    def __init__(self, story: Story, replies: tuple[str, ...], rules: steps.Settings) -> None:
        self.world = World(story, replies)
        self.goal = Goal("BTCUSDT", DESIRED, story.enforce)
        self.evidence = Evidence()
        self.rules = rules
        self.untrue: list[str] = []
        self._actions = {
            steps.Step.READ: self._read,
            steps.Step.READ_BACK: self._read,
            steps.Step.LIMITS: self._read_limits,
            steps.Step.WRITE: self._write,
            steps.Step.EXPLAIN: self._explain,
        }

    def run(self) -> None:
        for _step in range(MAX_STEPS):
            step = steps.next_step(self.evidence, self.goal, self.rules)
            if step is steps.Step.END:
                return
            self._actions.get(step, self._pause)()
        self.untrue.append("the story does not end")

    def _read(self) -> None:
        self.evidence.events.append(self.world.read())

    def _read_limits(self) -> None:
        self.world.advance()
        self.evidence.limits_known = True

    def _write(self) -> None:
        if self.world.writes == len(self.world.replies):
            raise NeedsReply
        if self.goal.enforce == "maximum" and not _may_lower(self.evidence):
            self.untrue.append("maximum raises what it could have known")
        error = self.world.write()
        self.evidence.events.append(Attempt(self.world.requests, error))

    def _explain(self) -> None:
        self.world.advance()
        self.evidence.explained = True
        if self.world.story.position:
            self.evidence.blockers = [{"kind": "position", "side": "LONG", "size": "1"}]

    def _pause(self) -> None:
        self.evidence.events.append(Pause(self.world.requests))


def play(story: Story, replies: tuple[str, ...], rules: steps.Settings) -> Played:
    """Run a story. Raise NeedsReply if it has more writes than responses."""
    run = _Play(story, replies, rules)
    run.run()
    verdict = judgment.judge(run.evidence, run.goal)
    untrue = run.untrue + find_untrue_words(verdict.outcome, verdict.leverage, verdict.cause, run.world)
    is_possible = any(attempt.is_possible for attempt in run.evidence.attempts)
    if verdict.outcome == judgment.UNKNOWN and is_possible is not (verdict.cause == judgment.NOT_CONFIRMED):
        untrue.append(f"cause {verdict.cause!r}")
    is_other = verdict.leverage not in (None, story.before)
    if story.other is None and verdict.changed is not is_other:
        untrue.append(f"changed is {verdict.changed}, but the leverage was {story.before}, and is {verdict.leverage}")
    return Played(verdict, run.evidence, run.world, untrue)


def _may_lower(evidence: Evidence) -> bool:
    """Return whether the last reading is above the maximum."""
    reading = evidence.get_reading()
    return reading is not None and reading.leverage is not None and reading.leverage > DESIRED


def find_untrue_words(outcome: str, leverage: int | None, cause: str, world: World) -> list[str]:
    """Return each word about a symbol that was not true at the last observation."""
    seen = world.seen
    if outcome == judgment.UNKNOWN:
        return [] if leverage in (None, seen) else ["leverage"]
    complies = seen is not None and (seen == DESIRED or (world.story.enforce == "maximum" and seen < DESIRED))
    is_blocked = outcome == judgment.BLOCKED
    untrue = {
        f"leverage {leverage}, but {seen} was in force": leverage != seen,
        f"{outcome}, but {seen} was in force": complies is not (outcome in (judgment.CHANGED, judgment.UNCHANGED)),
        f"cause {cause!r}": bool(cause) is complies,
        f"{outcome}, but a write was carried out after the last observation": world.is_unobserved,
        f"{outcome}, but a write can still be carried out": outcome != judgment.CHANGED and bool(world.pending),
        "not written, but carried out": outcome == judgment.NOT_WRITTEN and world.carried_out > 0,
        "blocked, but nothing is open": is_blocked and not world.story.position,
        "blocked, but the API did not answer": is_blocked and not world.was_refused_by_the_api,
    }
    return [word for word, is_untrue in untrue.items() if is_untrue]


def all_stories() -> Iterator[Story]:
    """Yield every story, without the responses to writes."""
    others = [None, *itertools.product((2, 3, 4, 5), (5, DESIRED, 20))]
    for before, enforce, reads, position, other in itertools.product(
        (5, DESIRED, 20, None), ("exact", "maximum"), READS, (False, True), others
    ):
        yield Story(before, enforce, reads, position, other)


def play_all(story: Story, max_writes: int = 3, reads_limits: bool = False) -> Iterator[tuple[tuple[str, ...], Played]]:
    """Yield each sequence of responses to the writes of a story, with its end."""
    rules = steps.Settings(reads_limits, RETRIES)
    pending: list[tuple[str, ...]] = [()]
    while pending:
        replies = pending.pop()
        try:
            yield replies, play(story, replies, rules)
        except NeedsReply:
            names: Any = REPLIES if len(replies) < max_writes else ("500 before",)
            pending += [(*replies, name) for name in names]
