"""The I/O lower bound of matmul."""

from math import ceil, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpu_ir.sim.time.io_bound import compulsory_words, io_lower_bound

size = st.integers(1, 64)


@pytest.mark.parametrize(("n", "reads"), [(1024, 5_931_642), (2048, 47_453_133)])
def test_of_the_default_machine(n: int, reads: int) -> None:
    """Squares past an L3 of 512 KiB in f32: S = 131,072 words, 2 n^3 / 362.04 + n^2."""
    assert io_lower_bound(n, n, n, 131_072) == reads + n * n


def test_a_memory_that_holds_all_leaves_the_compulsory_words() -> None:
    """With room for everything, each operand moves once."""
    assert io_lower_bound(8, 16, 32, 10**6) == compulsory_words(8, 16, 32) == 896


@pytest.mark.parametrize(("m", "k", "n", "words"), [(10, 10, 1000, 130), (3072, 128, 768, 131_072)])
def test_a_short_k_needs_no_more_than_the_compulsory_words(
    m: int, k: int, n: int, words: int
) -> None:
    """One operand fits, the other streams past: 2mnk / sqrt(S) + mn would ask for more."""
    small = min(m, n)
    assert small * k + k + small <= words
    assert 2 * m * k * n / sqrt(words) + m * n > compulsory_words(m, k, n)
    assert io_lower_bound(m, k, n, words) == compulsory_words(m, k, n)


@given(size, size, size, st.integers(1, 1024))
def test_is_the_formula(m: int, k: int, n: int, words: int) -> None:
    """The integer arithmetic rounds the published formulas up, exactly."""
    touched = ceil(round(2 * m * n * k / sqrt(words), 6))
    bound = touched + m * n if k >= 2 * sqrt(words) else touched - 2 * words
    assert io_lower_bound(m, k, n, words) == max(bound, compulsory_words(m, k, n))


@given(size, size, size, st.integers(1, 24), st.integers(1, 24))
def test_no_blocked_schedule_beats_it(m: int, k: int, n: int, p: int, q: int) -> None:
    """A block of a, b or c stays, the other two stream past it: the three textbook schedules.

    p x q words and a strip of each other matrix fit; c is read back for all but its first visit.
    """
    words = p * q + p + q
    schedules = {
        "c stays": (ceil(n / q) * m * k, ceil(m / p) * k * n, m * n),
        "a stays": (m * k, ceil(m / p) * k * n, (2 * ceil(k / q) - 1) * m * n),
        "b stays": (ceil(n / q) * m * k, k * n, (2 * ceil(k / p) - 1) * m * n),
    }
    assert min(map(sum, schedules.values())) >= io_lower_bound(m, k, n, words)


def test_nonsense_is_refused() -> None:
    """A memory of nothing has no bound."""
    with pytest.raises(ValueError, match="at least 1"):
        io_lower_bound(1, 1, 1, 0)
