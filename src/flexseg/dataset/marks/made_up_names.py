"""What classes are called that nobody has named."""

from __future__ import annotations

# The only class of masks that tell no more than what belongs to it.
FOREGROUND = "foreground"
_BACKGROUND = "background"


def made_up_name(class_id: int) -> str:
    """The name of a class that has only its id."""
    return f"class {class_id}" if class_id else _BACKGROUND


def is_made_up(name: str, class_id: int) -> bool:
    """Whether nobody has given a class this name."""
    return name in (made_up_name(class_id), FOREGROUND)
