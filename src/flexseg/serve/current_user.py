"""Who asks, and what they may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from fastapi import Depends, Request

from flexseg.serve.api_errors import ApiError


class Role(IntEnum):
    """Each may do what the ones before may."""

    LOOK = 1
    CORRECT = 2
    TRAIN = 3


@dataclass(frozen=True)
class User:
    """A person or program that uses the server."""

    name: str
    role: Role


def user(request: Request) -> User:
    """Who was let in, see `access.admission`."""
    found: User = request.state.user
    return found


def at_least(role: Role) -> Callable[[User], User]:
    """A dependency: the user, who has a role or one above."""

    def checked(user: Annotated[User, Depends(user)]) -> User:
        if user.role < role:
            raise ApiError(
                403,
                f"This needs the role {role.name.lower()}; yours is {user.role.name.lower()}.",
                "Ask the operator of the server for another token.",
            )
        return user

    return checked


Looking = Annotated[User, Depends(at_least(Role.LOOK))]
Correcting = Annotated[User, Depends(at_least(Role.CORRECT))]
Training = Annotated[User, Depends(at_least(Role.TRAIN))]
