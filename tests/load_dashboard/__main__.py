"""`python -m tests.load_dashboard`: many sessions at once on a running dashboard, as a browser's socket sees it.

Each session looks at examples as people do: it steps with Next, follows links, pins a cell, opens Compare. What comes
back must be the example that it asked for, and of no other session. A person looks at a map before the next click: each
action comes 1 to 3 s after the answer to the last one. Without that pause (``--think 0``) fifty sessions are fifty
people who click all the time. Then many sessions come one after another, and the server's memory is watched.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import random
import tempfile
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from tests.bench.dashboard import cpu_seconds, make_files, memory_mib
from tests.support.dashboard import browser

PATIENCE = 120  # seconds for an answer
ACTIONS = {"next": 5, "link": 3, "pin": 2, "compare": 1}  # how often each is chosen


@dataclass
class Outcome:
    """Seconds of every action by its kind, and what went wrong."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: collections.defaultdict(list))
    errors: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(map(len, self.seconds.values()))

    def percentile(self, share: float, kind: str | None = None) -> float:
        times = sorted(self.seconds[kind] if kind else sum(self.seconds.values(), []))
        return times[int(share * (len(times) - 1))] if times else float("nan")


@dataclass
class Answer:
    """What a page showed: the example in its heading, the ids of its buttons, the address it set, what went wrong."""

    shown: list[str] = field(default_factory=list)
    buttons: dict[str, str] = field(default_factory=dict)
    query: str | None = None
    problem: str = ""


class Visitor:
    """One session: a browser tab that sends what a click sends and reads until the page is whole."""

    def __init__(self, socket: websockets.ClientConnection, names: list[str]) -> None:
        self.socket, self.names = socket, names
        self.example, self.next_button = "", ""

    def possible(self, kind: str) -> str:
        """The kind itself, or ``link`` where the page has nothing to click for it."""
        there = self.next_button if kind == "next" else self.example
        return kind if there else "link"

    async def act(self, kind: str, example: str) -> str:
        """Do one thing; what was wrong with the answer, or an empty string."""
        message = BackMsg()
        query = {"sort": "id", "example": self.example}
        if kind == "next":
            self.example = self.names[self.names.index(self.example) + 1]
            trigger = message.rerun_script.widget_states.widgets.add()
            trigger.id, trigger.trigger_value = self.next_button, True
        elif kind == "pin":
            query["pin"] = "0.0"
        elif kind == "compare":
            message.rerun_script.page_name = "compare"
            query = {"example": self.example}
        else:
            self.example = query["example"] = example
        message.rerun_script.query_string = urlencode(query)
        await self.socket.send(message.SerializeToString())
        answer = await _answer(self.socket)
        last = self.example == self.names[-1]
        self.next_button = "" if kind == "compare" or last else answer.buttons.get("Next", "")
        return answer.problem or self._misfit(kind, answer)

    def _misfit(self, kind: str, answer: Answer) -> str:
        if answer.shown != [self.example]:
            return f"{kind}: wanted {self.example}, was shown {answer.shown}"
        if kind == "pin" and "Unpin" not in answer.buttons:
            return f"{kind}: {self.example} is shown without the pinned cell"
        if answer.query and (named := parse_qs(answer.query).get("example")) not in (None, [self.example]):
            return f"{kind}: wanted {self.example}, the address names {named}"
        return ""


async def _answer(socket: websockets.ClientConnection) -> Answer:
    """Read until the page is whole."""
    answer = Answer()
    while True:
        message = ForwardMsg()
        message.ParseFromString(await asyncio.wait_for(socket.recv(), PATIENCE))
        kind = message.WhichOneof("type")
        if kind == "delta":
            _note(message.delta.new_element, answer)
        elif kind == "page_info_changed":
            answer.query = message.page_info_changed.query_string
        elif kind == "script_finished" and message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
            return answer


def _note(element, answer: Answer) -> None:
    what = element.WhichOneof("type")
    if what == "text" and "   ·   " in element.text.body:
        answer.shown.append(element.text.body.split("   ·   ")[0])
    elif what == "button":
        answer.buttons[element.button.label] = element.button.id
    elif what == "exception":
        answer.problem = element.exception.message


async def session(address: str, names: list[str], kinds: list[str], outcome: Outcome, think: float, seed: int) -> None:
    """Do ``kinds`` one after another in one session, ``think`` seconds apart, half of that more or less."""
    chance = random.Random(seed)
    url = f"{address.replace('http', 'ws')}/_stcore/stream"
    await asyncio.sleep(chance.uniform(0, think))  # people do not all come in one moment
    async with websockets.connect(url, max_size=None, origin=address, subprotocols=["streamlit"]) as socket:
        visitor = Visitor(socket, names)
        for wanted in kinds:
            kind, start = visitor.possible(wanted), time.perf_counter()
            try:
                problem = await visitor.act(kind, chance.choice(names))
            except (TimeoutError, websockets.WebSocketException) as error:
                problem = f"{kind}: {error!r}"
            outcome.seconds[kind].append(time.perf_counter() - start)
            if problem:
                outcome.errors.append(problem)
            await asyncio.sleep(think * chance.uniform(0.5, 1.5))


async def at_once(address: str, sessions: int, actions: int, names: list[str], think: float) -> Outcome:
    """All sessions together; each opens an example by its link and then does what chance gives it."""
    outcome, chance = Outcome(), random.Random(0)
    drawn = [["link", *chance.choices(list(ACTIONS), ACTIONS.values(), k=actions - 1)] for _ in range(sessions)]
    await asyncio.gather(*(session(address, names, mine, outcome, think, seed) for seed, mine in enumerate(drawn)))
    return outcome


async def one_by_one(address: str, sessions: int, names: list[str]) -> Outcome:
    """One session after another, each looking at one example."""
    outcome = Outcome()
    for number in range(sessions):
        await session(address, names, ["link"], outcome, 0.0, number)
    return outcome


def said(what: str, outcome: Outcome, server: float, client: float, wall: float) -> str:
    """The outcome in lines: percentiles, errors, and what the server and this client used of the processors."""
    count = outcome.count
    kinds = ", ".join(f"{kind} {outcome.percentile(0.95, kind):.2f}" for kind in ACTIONS if outcome.seconds[kind])
    return (
        f"{what}: {count} actions, {len(outcome.errors)} errors, p50 {outcome.percentile(0.5):.2f} s, "
        f"p95 {outcome.percentile(0.95):.2f} s (p95 by kind: {kinds}); {1000 * server / count:.0f} ms of CPU an action "
        f"in the server, {1000 * client / count:.1f} ms in the client, {wall:.0f} s of wall clock"
    )


def load(address: str, options: argparse.Namespace, names: list[str], think: float) -> Outcome:
    """All sessions at once, and what that was like."""
    before = cpu_seconds(address), time.process_time(), time.perf_counter()
    outcome = asyncio.run(at_once(address, options.sessions, options.actions, names, think))
    after = cpu_seconds(address), time.process_time(), time.perf_counter()
    pause = f"{0.5 * think:g} to {1.5 * think:g} s between" if think else "no pause between"
    what = f"{options.sessions} sessions at once x {options.actions} actions, {pause}"
    print(said(what, outcome, *(end - start for start, end in zip(before, after, strict=True))), flush=True)
    return outcome


def visits(address: str, count: int, names: list[str]) -> Outcome:
    """Sessions one after another, with the server's memory before and after."""
    asyncio.run(one_by_one(address, 50, names))  # what is loaded once is not growth
    before = memory_mib(address)
    outcome = asyncio.run(one_by_one(address, count, names))
    after = memory_mib(address)
    print(
        f"{count} sessions one after another: {len(outcome.errors)} errors, p95 {outcome.percentile(0.95):.2f} s, "
        f"memory {before:.0f} MiB before and {after:.0f} MiB after ({after / before - 1:+.1%})"
    )
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.load_dashboard", description=__doc__.split("\n")[0])
    parser.add_argument("--sessions", type=int, default=50, help="at once")
    parser.add_argument("--actions", type=int, default=20, help="of each session")
    parser.add_argument("--think", type=float, nargs="+", default=[2.0, 0.0], help="mean seconds from answer to action")
    parser.add_argument("--visits", type=int, default=1000, help="sessions one after another")
    parser.add_argument("--examples", type=int, default=86, help="four maps each: 2,500 make a store of 10,000")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        count = make_files(folder, options.examples)
        names = [f"example-{number:05d}" for number in range(options.examples)]
        with browser.server("--maps", f"{folder}/maps", "--gold", f"{folder}/gold.jsonl") as address:
            print(f"{count} maps", flush=True)
            time.sleep(max(2.0, count / 500))  # a big store is scored first
            outcomes = [load(address, options, names, think) for think in options.think if options.sessions]
            with contextlib.suppress(KeyboardInterrupt):
                outcomes += [visits(address, options.visits, names)] if options.visits else []
    for problem in [problem for outcome in outcomes for problem in outcome.errors][:10]:
        print(problem)


if __name__ == "__main__":
    main()
