"""Student's t distribution, exact to double precision, without a statistics library."""

from __future__ import annotations

import math

_TINY = 1e-300
_STEPS = 500


def t_cdf(t: float, df: float) -> float:
    """P(T <= t) with `df` degrees of freedom: half the regularised incomplete beta function of
    x = df / (df + t^2) (Abramowitz & Stegun, Handbook of Mathematical Functions, 26.7.1); near 0 that of 1 - x, which
    keeps its digits there."""
    if t * t < df:
        return 0.5 + math.copysign(incomplete_beta(0.5, df / 2, t * t / (df + t * t)) / 2, t)
    tail = incomplete_beta(df / 2, 0.5, df / (df + t * t)) / 2
    return tail if t < 0 else 1 - tail


def t_quantile(p: float, df: float) -> float:
    """The t with P(T <= t) = p, by bisection of `t_cdf`.

    Raises:
        ValueError: p is not between 0 and 1.
    """
    if not 0 < p < 1:
        raise ValueError(f"p is {p}, not between 0 and 1")
    if p < 0.5:
        return -t_quantile(1 - p, df)
    low, high = 0.0, 1.0
    while t_cdf(high, df) < p:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_cdf(middle, df) < p else (low, middle)
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b), by its continued fraction (NIST Digital Library of Mathematical Functions, 8.17.22), evaluated by
    the modified Lentz method; the symmetry I_x(a, b) = 1 - I_(1-x)(b, a) keeps it where it converges fast."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    c, d = 1.0, 1 / _apart(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _STEPS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _apart(1 + term * d)
            c = _apart(1 + term / c)
            fraction *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return front * fraction


def _apart(value: float) -> float:
    """Not quite zero: Lentz's method divides by it."""
    return value if abs(value) > _TINY else _TINY
