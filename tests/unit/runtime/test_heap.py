"""Check how threads share memory."""

import subprocess
import sys

from tests.needs import need

THREADS = """
import ctypes, sys, threading
from consumer.runtime.scheduler import share_one_heap

def allocate(together):
    together.wait(10)
    kept.append([bytes(2000) for _ in range(100)])
    together.wait(10)

if sys.argv[1:]:
    share_one_heap()
kept, together = [], threading.Barrier(4)
threads = [threading.Thread(target=allocate, args=[together]) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
ctypes.CDLL(None).malloc_stats()
"""


def heaps(*arguments: str) -> int:
    """Return how many heaps glibc has after four threads have allocated at once."""
    done = subprocess.run([sys.executable, "-c", THREADS, *arguments], check=True, capture_output=True, text=True)
    return done.stderr.count("Arena ")


def test_all_threads_allocate_from_one_heap() -> None:
    """With a heap per thread, records that move between threads use several times the budget."""
    need(sys.platform == "linux" and heaps() > 1, "glibc")
    assert heaps("share") == 1
