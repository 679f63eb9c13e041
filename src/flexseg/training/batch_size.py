"""How many images a step takes, where the config leaves it to the machine (`"auto"`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from flexseg import backend
from flexseg.models.inspection import ModelFacts
from flexseg.training.memory import free_memory

# Throughput on a CPU does not rise beyond it: a few images fill all cores.
MOST_ON_CPU = 8
# Of the cases in one step, as in nnU-Net (Isensee 2021): an epoch of few steps teaches little.
LARGEST_SHARE = 0.05
# Peak memory of a step as measured on networks of the registry: 1.4 to 2.8 times the activations
# (more for the smallest, where the constant part rules), gradients and temporary weights.
_PER_ACTIVATION = 3.0
_PER_WEIGHT = 12
_CONSTANT = 256 * 2**20
# Of the free memory, what a step may take by estimate: others use the machine too.
_USABLE = 0.5


@dataclass
class BatchSize:
    """Images per step, why so many, and when memory forced it down.

    Attributes
    ----------
    halved : per time that memory ran out, where training stood, and both sizes.
    """

    size: int
    reason: str
    automatic: bool = False
    halved: list[dict[str, int]] = field(default_factory=list)

    def halve(self, epoch: int, batch: int) -> None:
        """Take half as many, from a state (epoch and batches done of it, both from 0) on."""
        before, self.size = self.size, self.size // 2
        self.halved.append({"epoch": epoch, "batch": batch, "from": before, "to": self.size})

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def most_useful(cases: int, *, drawn: bool) -> tuple[int, str]:
    """The largest size that training gains from, and why.

    Parameters
    ----------
    cases : for training.
    drawn : each step draws cases at random, and an epoch is a number of steps.
    """
    if drawn:
        most, why = cases, f"there are {cases} training cases"
    else:
        most = min(cases, max(2, int(cases * LARGEST_SHARE)))
        why = f"{LARGEST_SHARE:.0%} of the {cases} training cases"
    if backend.accelerator() is None and most > MOST_ON_CPU:
        return MOST_ON_CPU, "more is not faster on a CPU"
    return most, why


def step_bytes(facts: ModelFacts, size: int) -> int:
    """About what a training step of `size` images takes beside the network, in bytes."""
    activations = _PER_ACTIVATION * facts.activation_bytes * size
    return int(activations + _PER_WEIGHT * facts.parameters + _CONSTANT)


def choose(
    facts: ModelFacts,
    cases: int,
    *,
    drawn: bool,
    fits: Callable[[int], bool],
    devices: int = 1,
) -> BatchSize:
    """The size for a network: on an accelerator by trial, on a CPU by estimate.

    A CPU is not tried: systems end a process that takes too much, and do not raise an error. What
    several devices share is estimated too, since one that fails alone would leave the others
    waiting for it.

    Parameters
    ----------
    fits : makes a training step of so many images; False if memory does not suffice.
    devices : that share each batch equally.
    """
    if devices > 1:
        return _choose_shared(facts, cases, devices, drawn=drawn)
    most, why = most_useful(cases, drawn=drawn)
    free = free_memory()

    def estimated(size: int) -> bool:
        return free is None or step_bytes(facts, size) <= _USABLE * free

    by_estimate = largest(estimated, power_of_two(most), most) or 1
    if backend.accelerator() is None:
        return _with_reason(by_estimate, most, why, "the estimate for the free memory", free)
    found = largest(fits, power_of_two(by_estimate), most)
    return _with_reason(found or 1, most, why, "trial steps on the accelerator", free)


def _choose_shared(facts: ModelFacts, cases: int, devices: int, *, drawn: bool) -> BatchSize:
    most, why = most_useful(cases, drawn=drawn)
    free = free_memory()

    def estimated(each: int) -> bool:
        return free is None or step_bytes(facts, each) <= _USABLE * free

    limit = max(1, most // devices)
    each = largest(estimated, power_of_two(limit), limit) or 1
    return BatchSize(power_of_two(each) * devices, f"{why}, for {devices} devices", automatic=True)


def _with_reason(size: int, most: int, why: str, how: str, free: int | None) -> BatchSize:
    known = "" if free is None else f" of {free / 2**30:.1f} GiB"
    following = size * 3 // 2 if power_of_two(size) == size > 1 else max(2, size * 4 // 3)
    if following > most:
        return BatchSize(size, f"{why}; it fits by {how}{known}", automatic=True)
    return BatchSize(size, f"{how}{known} lets no more fit", automatic=True)


def power_of_two(n: int) -> int:
    """The largest power of two up to n >= 1."""
    return 1 << (n.bit_length() - 1)


def largest(fits: Callable[[int], bool], start: int, most: int) -> int:
    """The largest 2^k or 3 * 2^k up to `most` that fits, 0 if not even one image does.

    Such sizes can be halved without remainder, so that a training that has to do so has seen the
    same images. `fits` costs a compilation: it is asked as seldom as possible.

    Parameters
    ----------
    start : the first guess, a power of two up to `most`.
    """
    size = start
    if fits(size):
        while 2 * size <= most and fits(2 * size):
            size *= 2
    else:
        size //= 2
        while size and not fits(size):
            size //= 2
    between = size + size // 2
    if size > 1 and between <= most and fits(between):
        size = between
    return size
