"""The allocator by itself: best fit, merging, order between streams, pools, and what it says when full."""

import pytest
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st

from kpu_ir.runtime.allocator import Allocator, OutOfMemory


def test_the_smallest_span_that_fits_is_taken():
    memory = Allocator("memory", 64 * 20)
    spans = [memory.allocate(64 * n, {}, f"b{n}", "here") for n in (3, 1, 5, 1, 2, 1)]
    for span in spans[::2]:
        memory.release(span.address, {})
    assert memory.allocate(100, {}, "c", "here").address == spans[4].address
    assert memory.allocate(65 * 3, {}, "d", "here").address == spans[2].address
    assert memory.allocate(64 * 3, {}, "e", "here").address == spans[0].address


def test_what_touches_is_one():
    memory = Allocator("memory", 64 * 3)
    for span in [memory.allocate(64, {}, "b", "here") for _ in range(3)]:
        memory.release(span.address, {})
    assert memory.allocate(64 * 3, {}, "whole", "here").address == 0


def test_another_stream_takes_what_is_free_to_it_and_else_waits():
    memory = Allocator("memory", 128)
    a = memory.allocate(64, {}, "a", "here")
    memory.release(a.address, {0: 5})
    b = memory.allocate(64, {1: 1}, "b", "here")
    assert (b.address, b.after) == (64, {})  # not the one that stream 0 frees later
    c = memory.allocate(64, {1: 1}, "c", "here")
    assert (c.address, c.after) == (0, {0: 5})
    memory.release(c.address, {0: 5})
    memory.release(b.address, {1: 1})
    assert memory.allocate(128, {0: 5, 1: 1}, "d", "here").address == 0


def test_after_everybody_waited_all_is_one_piece():
    memory = Allocator("memory", 192)
    spans = [memory.allocate(64, {}, "b", "here") for _ in range(3)]
    for stream, span in enumerate(spans):
        memory.release(span.address, {stream: 1})
    assert len(memory.free) == 3
    memory.settle({0: 1, 1: 1})
    assert [s.size for s in memory.free] == [128, 64]
    memory.settle({0: 1, 1: 1, 2: 1})
    assert [s.size for s in memory.free] == [192]


def test_a_full_memory_shows_its_map_and_the_largest():
    memory = Allocator("memory", 64 * 4)
    memory.allocate(64 * 2, {}, "large", "a.py:1")
    small = memory.allocate(64, {}, "small", "a.py:2")
    memory.release(memory.allocate(64, {}, "gone", "a.py:3").address, {})
    with pytest.raises(OutOfMemory) as raised:
        memory.allocate(65, {}, "new", "a.py:4")
    text = str(raised.value)
    for words in (
        "a.py:4: memory has no 128 bytes left: 64 of 256 are free",
        "large (a.py:1)",
        "free",
    ):
        assert words in text
    assert "the largest is large, made at a.py:1" in raised.value.hint
    memory.release(small.address, {})
    pool = memory.pool(128, "pool", "a.py:5")
    assert pool.allocate(1, {}, "in it", "a.py:6").address == 128
    with pytest.raises(OutOfMemory, match="pool in memory has no 128 bytes"):
        pool.allocate(65, {}, "more", "a.py:7")


@drawing(20)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 900), st.integers(0, 2)), max_size=60))
def test_live_spans_never_overlap_and_nothing_is_lost(steps):
    memory, live, ticks = Allocator("memory", 64 * 64), [], [0, 0, 0]
    for what, size, stream in steps:
        ticks[stream] += 1
        if what < 6:
            try:
                live.append(memory.allocate(size, {stream: ticks[stream]}, "b", "here"))
            except OutOfMemory:
                continue
        elif live:
            memory.release(live.pop(size % len(live)).address, {stream: ticks[stream]})
        spans = sorted([*live, *memory.free], key=lambda s: s.address)
        assert [s.address for s in spans[1:]] == [s.end for s in spans[:-1]]
        assert (spans[0].address, spans[-1].end) == (0, memory.capacity)
        assert memory.in_use == sum(s.size for s in live) <= memory.peak
    for span in live:
        memory.release(span.address, {})
    memory.settle(dict(enumerate(ticks)))
    assert [s.size for s in memory.free] == [memory.capacity]
