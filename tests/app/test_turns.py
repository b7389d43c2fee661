"""Turns of the dashboard's visitors: so many at once, in the order in which they came, and none forgotten."""

from __future__ import annotations

import threading
import time

from app.server.turns import Turns

PATIENCE = 10.0


def wait_until(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


def test_who_comes_first_is_served_first_and_no_more_at_once_than_there_are_places():
    turns, order, inside, most = Turns(2), [], [], []
    gates = [threading.Event() for _ in range(6)]

    def visit(number: int) -> None:
        with turns.turn(PATIENCE):
            order.append(number)
            inside.append(number)
            most.append(len(inside))
            gates[number].wait(PATIENCE)
            inside.remove(number)

    threads = []
    for number in range(6):
        threads.append(threading.Thread(target=visit, args=(number,)))
        threads[-1].start()
        wait_until(lambda number=number: len(order) + len(turns._waiting) == number + 1)
    assert order == [0, 1]
    for number in range(6):
        gates[number].set()
        wait_until(lambda number=number: len(order) >= min(6, number + 3))
    for thread in threads:
        thread.join(PATIENCE)
    assert order == list(range(6)) and max(most) == 2 and turns._free == 2


def test_who_has_waited_too_long_goes_ahead_and_leaves_no_place_behind():
    turns = Turns(1)
    with turns.turn():
        done = []
        thread = threading.Thread(target=lambda: done.append(turns.turn(0.01).__enter__()))
        thread.start()
        thread.join(PATIENCE)
        assert len(done) == 1 and not turns._waiting and turns._free == 0
    assert turns._free == 1


def test_a_page_that_only_waits_lets_others_in_and_takes_a_place_again():
    turns, other = Turns(1), []

    def visit() -> None:
        with turns.turn(PATIENCE):
            other.append(turns._free)

    with turns.turn():
        with turns.aside():
            thread = threading.Thread(target=visit)
            thread.start()
            thread.join(PATIENCE)
            assert other == [0]
        assert turns._free == 0
    assert turns._free == 1


def test_an_error_gives_the_place_back():
    turns = Turns(1)
    try:
        with turns.turn():
            raise KeyError
    except KeyError:
        pass
    assert turns._free == 1
