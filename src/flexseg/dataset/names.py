"""What a file name tells: the original of an augmented image.

The original systems write augmented images beside their originals and name them
`<transform>_<parameters>_<original>`. A later split by file then puts copies of one image into
training and test. Here such names are traced back.
"""

from __future__ import annotations

import re

_NUMBER = r"-?\d+(?:\.\d+)?"
_FRACTION = r"-?0[._]\d+"  # the originals write 0.8 as 0_8

# What `flexseg augment` writes for a recipe: names of transforms, then the number of the copy.
# A word such as "contrast" or "crop" may begin other names too, so it does not suffice alone.
_SURE = (
    "(?:hflip|vflip|shear|rotation|scaling|shrink|radial|deformation|distortion|low_resolution"
    "|sharpening|brightness)_"
)
_ANY = f"(?:{_SURE}|(?:crop|noise|blur|contrast|gamma)_)"

# The prefixes of the originals' generators and offline tools, and of `flexseg augment`. Each
# carries its parameters, so that a name which merely begins with such a word ("rotated_scan")
# stays what it is.
_PREFIXES = (
    r"(?:h|v|hv)flipp?ed_",
    rf"rotated_{_NUMBER}_",
    rf"shrinked_{_FRACTION}_",
    rf"sheared_{_FRACTION}_",
    rf"deformed_alpha_{_NUMBER}_sigmoid_{_NUMBER}_",
    rf"distorted_{_NUMBER}_rsigma{_NUMBER}_sigma{_NUMBER}_",
    rf"(?:barr|pinc)distorted_\d{{3,}}_{_NUMBER}_{_NUMBER}_",
    rf"sharpened_{_NUMBER}_",
    # Without a final underscore: a following number runs into the offset, which is 10 in all
    # published configs.
    rf"brightened_{_NUMBER}_(?:10|{_NUMBER}(?=\D))_?",
    # One dataset has these words alone; its originals are numbers.
    r"(?:rotated|flipped|mirrored)_(?=\d+$)",
    rf"(?:{_SURE}|{_ANY}{{2}}){_ANY}*[1-9]\d*_",
)
_PREFIX = re.compile("|".join(f"(?:{prefix})" for prefix in _PREFIXES))


def base_name(stem: str) -> str:
    """The name of the original image that `stem`, a file name without suffix, was made of.

    All prefixes of the original systems' augmenters are taken off, also several of them; a name
    without any is returned as it is.

    Examples
    --------
    >>> base_name("barrdistorted_1001_0.3_0.3_30")
    '30'
    >>> base_name("hflipped_sheared_0_1_rotated_90_10003_spleen_26")
    '10003_spleen_26'
    >>> base_name("rotated_scan")
    'rotated_scan'
    """
    rest = stem
    while (match := _PREFIX.match(rest)) and match.end() < len(rest):
        rest = rest[match.end() :]
    return rest


def is_augmented(stem: str) -> bool:
    """Whether a file name without suffix is one that the originals' augmenters write."""
    return base_name(stem) != stem


def numbered(stem: str) -> tuple[str, int] | None:
    """The series that a file belongs to by its name, and its number there; None without one.

    Examples
    --------
    >>> numbered("p01_axial_0012")
    ('p01_axial', 12)
    """
    series, _, number = stem.rpartition("_")
    return (series, int(number)) if number.isdecimal() and number.isascii() else None
