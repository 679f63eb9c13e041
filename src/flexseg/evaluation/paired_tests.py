"""Tests of paired differences that come in groups.

The tests are SciPy's. What it lacks stands here: what each group contributes to a mean of several
classes, and Holm's adjustment (its `false_discovery_control` holds the share of false findings,
not the chance of any).

References
----------
Wilcoxon: Individual comparisons by ranking methods. Biometrics Bulletin 1, 1945.
Pratt: Remarks on zeros and ties in the Wilcoxon signed rank procedures. JASA 54, 1959.
Pitman: Significance tests which may be applied to samples from any populations. Suppl. J. Royal
Statistical Society 4, 1937.
Holm: A simple sequentially rejective multiple test procedure. Scand. J. Statistics 6, 1979.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Scores are stored with 6 decimals; what differs by less is equal.
DECIMALS = 9
_PATTERNS = 9999


def contributions(change: NDArray[np.float64], groups: NDArray[np.str_]) -> NDArray[np.float64]:
    """What each group adds to the mean of the classes' means, times the number of groups.

    With one class and as many cases in each group these are the groups' mean differences. Their
    mean is the mean of the classes' mean differences, whatever the sizes. If the two runs are
    equally good, each is as likely to be positive as negative.

    Parameters
    ----------
    change : differences [cases, classes]; NaN where a class is not defined.
    groups : [cases], a name each.

    Returns
    -------
    [groups that have a defined value], by ascending name.
    """
    defined = ~np.isnan(change)
    shares = np.where(defined, change, 0.0) / np.maximum(defined.sum(axis=0), 1)
    used = defined.any(axis=1)
    names, owner = np.unique(groups[used], return_inverse=True)
    occurring = max(int(defined.any(axis=0).sum()), 1)
    sums = np.bincount(owner, weights=shares[used].sum(axis=1)) / occurring
    return np.round(sums * len(names), DECIMALS)


def signed_rank_p(differences: NDArray[np.float64]) -> float | None:
    """Two-sided p of Wilcoxon's signed-rank test of independent differences, zeros by Pratt.

    1 if all are zero; None with fewer than two.
    """
    if len(differences) < 2:
        return None
    if not differences.any():
        return 1.0
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences, zero_method="pratt").pvalue)


def sign_flip_p(contributions: NDArray[np.float64], seed: int = 0) -> float | None:
    """Two-sided p of the sum of independent contributions, by changing their signs (Pitman).

    If the runs are equally good, each contribution could as well have the other sign: p is the
    share of all sign patterns with a sum as far from 0. Unlike the signed-rank test it is about
    the mean itself, so a rare class has the weight here that it has there. Exact up to 13
    groups, beyond from `_PATTERNS` random patterns. 1 if all are zero; None with fewer than 2.
    """
    if len(contributions) < 2:
        return None
    from scipy.stats import permutation_test

    # Whole numbers: sums that are equal but for rounding count as equal.
    found = permutation_test(
        (np.rint(contributions * 10.0**DECIMALS),),
        lambda values, axis: np.abs(values.sum(axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=_PATTERNS,
        batch=1000,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - place) * p[index]))
        adjusted[index] = highest
    return adjusted
