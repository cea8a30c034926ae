"""The least traffic between a memory of S words and the one behind it that a matmul allows.

Whatever the order of its m*n*k multiply-adds (no Strassen), c = a b moves at least

    m*k + k*n + m*n             each matrix once (compulsory),
    2*m*n*k / sqrt(S) - 2*S     T. M. Smith et al., "A Tight I/O Lower Bound for Matrix
                                Multiplication", arXiv:1702.02017v2, 2019,
    2*m*n*k / sqrt(S) + m*n     if k >= 2*sqrt(S); G. Kwasniewski et al., "Red-Blue Pebbling
                                Revisited", SC 2019, theorem 1

words. The last is published without its condition but does not hold for a short k: at m = k = 10,
n = 1000, S = 130, a stays, columns of b come and columns of c go, 20,100 words in all; it says
27,542. A pinned panel of a (m' x k <= S) moves m*k + m*n*k*k/S + m*n words, which is less as long
as k < 2*sqrt(S); past that a pinned block of c is best, and that is what the bound says.
"""

from __future__ import annotations

from math import isqrt


def compulsory_words(m: int, k: int, n: int) -> int:
    """Words of a (m x k), b (k x n) and c (m x n), each moved once."""
    return m * k + k * n + m * n


def io_lower_bound(m: int, k: int, n: int, words: int) -> int:
    """Words that an m x k by k x n matmul must move past a memory of so many words."""
    if min(m, k, n, words) < 1:
        raise ValueError("sizes of a matmul and of a memory are at least 1")
    # The ceiling of 2*m*n*k / sqrt(words), in integers: the least w with w*w*words >= (2*m*n*k)**2.
    touched = isqrt(((2 * m * n * k) ** 2 - 1) // words) + 1
    extra = m * n if k * k >= 4 * words else -2 * words
    return max(touched + extra, compulsory_words(m, k, n))
