"""How far two models are apart in what they expect next, told from the likeliest tokens of each."""

import math
from collections.abc import Mapping, Sequence

LIKELIEST = 20
"""So many tokens of a place are kept and asked for: vLLM gives no more unless it is told to."""

LEAST = 1e-9
"""No probability is taken for smaller: what is left of 1 beside the likeliest is rounded."""


def divergence(one: Sequence[tuple[int, float]], other: Mapping[int, float]) -> float:
    """Give KL(one || other) in nats, of logprobs by token.

    The tokens that both name are taken one by one and all the rest as a single one, which makes it at most too small
    (data processing inequality: Cover and Thomas, Elements of Information Theory, 2.8).
    """
    pairs = [(math.exp(logprob), math.exp(other[token])) for token, logprob in one if token in other]
    rest = (1 - math.fsum(mine for mine, _ in pairs), 1 - math.fsum(theirs for _, theirs in pairs))
    bounded = ((max(LEAST, mine), max(LEAST, theirs)) for mine, theirs in (*pairs, rest))
    return max(0.0, math.fsum(mine * math.log(mine / theirs) for mine, theirs in bounded))
