"""One function over many items in worker processes: in order, in bounded memory, a process that dies costs one item."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")

CHUNK = 16  # items that travel to a process at once
WAITING = 4  # chunks a process that wait or are done

_function: Callable[[Any], Any] | None = None  # in a worker


def ordered_map(
    function: Callable[[Given], Made],
    items: Iterable[Given],
    workers: int,
    lost: Callable[[Given], Made],
) -> Iterator[tuple[Given, Made]]:
    """Yield (item, what `function` makes of it) in the order of the items, reading only so far ahead as is needed.

    Args:
        function: is pickled once for each process. What it raises is raised here.
        items: each is pickled.
        workers: processes; 1: no other process than this one.
        lost: what stands for an item at which the process dies (out of memory, say).
    """
    if workers <= 1:
        for item in items:
            yield item, function(item)
        return
    source = iter(items)
    pool = _pool(function, workers)
    running: deque[tuple[list[Given], Future[list[Made]]]] = deque()
    try:
        while True:
            while len(running) < workers * WAITING and (chunk := list(islice(source, CHUNK))):
                running.append((chunk, _submit(pool, chunk)))
            if not running:
                return
            chunk, future = running.popleft()
            try:
                made = future.result()
            except BrokenProcessPool:
                made = [_alone(function, item, lost) for item in chunk]
                pool.shutdown(wait=True)
                pool = _pool(function, workers)  # all that were running are lost with it
                running = deque((other, _submit(pool, other)) for other, _ in running)
            yield from zip(chunk, made, strict=True)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pool(function: Callable[[Any], Any], workers: int) -> ProcessPoolExecutor:
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:  # the libraries are loaded once, and this process's threads are not copied
        context.set_forkserver_preload([__name__, function.__class__.__module__])
    return ProcessPoolExecutor(workers, context, initializer=_start, initargs=(function,))


def _submit(pool: ProcessPoolExecutor, chunk: list[Any]) -> Future[list[Any]]:
    try:
        return pool.submit(_work, chunk)
    except BrokenProcessPool as problem:  # told when its turn comes
        broken: Future[list[Any]] = Future()
        broken.set_exception(problem)
        return broken


def _alone(function: Callable[[Given], Made], item: Given, lost: Callable[[Given], Made]) -> Made:
    """Do one item in a process of its own."""
    with _pool(function, 1) as pool:
        try:
            return pool.submit(_work, [item]).result()[0]
        except BrokenProcessPool:
            return lost(item)


def _start(function: Callable[[Any], Any]) -> None:
    global _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    _function = function


def _work(chunk: list[Any]) -> list[Any]:
    return [_function(item) for item in chunk]
