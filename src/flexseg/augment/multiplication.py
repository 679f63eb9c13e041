"""What `flexseg augment` makes of each training case, and under which names."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from flexseg.augment.geometric import GEOMETRIC
from flexseg.augment.photometric import PHOTOMETRIC
from flexseg.augment.policy import Draw, Policy, RecipePolicy, Variant, VariantPolicy, variants_of
from flexseg.config.augmentation import AugmentationConfig, VariantSections
from flexseg.config.findings import amount, examples
from flexseg.dataset.cases import Case
from flexseg.dataset.names import original_of_copy
from flexseg.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

DEFAULT_COPIES = 5
ORIGINAL = "original"
_MAX_DRAWS = 1000  # until a recipe that does anything at all has done something


def rng_for(seed: int, case_id: str, what: str) -> np.random.Generator:
    """Random numbers that depend on seed, case and transform alone, not on any order."""
    digest = hashlib.sha256(f"{seed}:{case_id}:{what}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


@dataclass(frozen=True)
class Multiplication:
    """What is made of each training case: all variants, or some draws of a recipe."""

    seed: int
    variants: tuple[Variant, ...] = ()
    recipe: Policy | None = None
    copies: int = 0

    @classmethod
    def from_config(
        cls,
        seed: int,
        recipe: AugmentationConfig,
        variants: VariantSections,
        copies: int | None = None,
    ) -> Multiplication:
        """What the sections on augmentation mean; an enabled recipe wins.

        Raises
        ------
        ConfigError : they change nothing, or `copies` is given without a recipe.
        """
        if recipe.enabled:
            count = DEFAULT_COPIES if copies is None else copies
            return cls(seed, recipe=RecipePolicy(recipe), copies=count)
        if copies is not None:
            raise ConfigError(
                "--copies counts draws of [augmentation], which this config does not enable; "
                "[augmentor] makes one file per variant.",
                "Leave --copies out, or add --set augmentation.enabled=true.",
                "--copies",
            )
        distinct = _distinct(variants_of(variants))
        if not distinct:
            _nothing("[augmentor]")
        return cls(seed, distinct)

    @property
    def policy(self) -> Policy:
        """What draws may be made of."""
        return self.recipe or VariantPolicy(self.variants)

    @property
    def per_case(self) -> int:
        """Pairs that become of one, the original included."""
        return 1 + len(self.variants) + self.copies

    def draws(self, case: Case, labels: NDArray[np.uint8]) -> Iterator[tuple[str, str, Draw]]:
        """(file stem, transform, draw) of all pairs of a case, the original first."""
        yield case.id, ORIGINAL, Draw()
        for variant in self.variants:
            rng = rng_for(self.seed, case.id, variant.prefix)
            draw = variant.draw(rng, labels.shape)
            yield f"{draw.prefix}{case.id}", draw.prefix.rstrip("_"), draw
        if self.recipe is not None:
            for number in range(1, self.copies + 1):
                rng = rng_for(self.seed, case.id, f"copy {number}")
                draw = changing_draw(self.recipe, rng, labels)
                yield f"{draw.prefix}{number}_{case.id}", draw.prefix.rstrip("_"), draw

    def refuse_equal_names(self, cases: Sequence[Case]) -> None:
        """Refuse cases whose files would overwrite each other, as in a dataset made by this.

        Raises
        ------
        DataError : names a few of them.
        """
        ids = {case.id.casefold() for case in cases}
        prefixes = ["", *(v.prefix.casefold() for v in self.variants)]
        planned = Counter(prefix + name for prefix in prefixes for name in ids)
        double = sorted(name for name, count in planned.items() if count > 1)
        if self.recipe is not None:
            names = (*GEOMETRIC, *PHOTOMETRIC)
            double += sorted(i for i in ids if original_of_copy(i, names) in ids)
        if len(ids) < len(cases):
            double += [name for name, n in Counter(c.id.casefold() for c in cases).items() if n > 1]
        if double:
            raise DataError(
                f"{amount(len(double), 'augmented image')} would get the name of another image: "
                f"{examples(double)}.",
                "The training images seem to be augmented already: start from the originals.",
                str(cases[0].image.parent),
            )


def _distinct(variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
    first = {v.prefix: v for v in reversed(variants)}
    if len(first) < len(variants):
        double = [p for p, n in Counter(v.prefix for v in variants).items() if n > 1]
        logger.warning(
            "Variants with the same file name are made only once: %s.", examples(sorted(double))
        )
    return tuple(v for v in variants if first.get(v.prefix) is v)


def _nothing(section: str) -> NoReturn:
    raise ConfigError(
        f"{section} changes nothing.",
        "Switch a transform on, or set [augmentation] enabled.",
        section,
    )


def changing_draw(policy: Policy, rng: np.random.Generator, labels: NDArray[np.uint8]) -> Draw:
    """A draw that does something.

    Raises
    ------
    ConfigError : the recipe never does.
    """
    for _ in range(_MAX_DRAWS):
        draw = policy.draw(rng, labels)
        if draw.prefix:
            return draw
    _nothing("[augmentation]")
