"""From per-case scores to means with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def bootstrap_means(
    values: NDArray[np.float64],
    groups: Sequence[str],
    resamples: int = 2000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Means of columns over resampled groups.

    Whole groups (patients, volumes) are drawn with replacement, because cases of one group are
    not independent (cluster bootstrap; Davison & Hinkley 1997, section 3.8).

    Parameters
    ----------
    values : [cases, columns]; NaN where a column is undefined for a case.
    groups : one name per case.

    Returns
    -------
    [resamples, columns]; NaN where a resample has no defined value, and for columns that are
    defined in one group only, which says nothing about the spread between groups.
    """
    _, owner = np.unique(np.asarray(groups), return_inverse=True)
    count = int(owner.max()) + 1
    defined = ~np.isnan(values)
    sums = np.zeros((count, values.shape[1]))
    sizes = np.zeros((count, values.shape[1]))
    np.add.at(sums, owner, np.where(defined, values, 0.0))
    np.add.at(sizes, owner, defined.astype(float))
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (weights @ sums) / (weights @ sizes)
    means[:, (sizes > 0).sum(axis=0) < 2] = np.nan
    return means


def interval(means: NDArray[np.float64]) -> tuple[float, float] | None:
    """95 % percentile interval of bootstrap means [resamples]; None if fewer than 3 are defined."""
    defined = means[~np.isnan(means)]
    if len(defined) < 3:
        return None
    low, high = np.percentile(defined, (2.5, 97.5))
    return float(low), float(high)


def mean_or_none(values: NDArray[np.float64]) -> float | None:
    """Mean of the defined values; None without any."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None
