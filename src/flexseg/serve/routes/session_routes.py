"""Who the user is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from flexseg import __version__
from flexseg.serve.current_user import Looking

router = APIRouter(prefix="/api", tags=["session"])


@router.get("/session")
def session(user: Looking) -> dict[str, Any]:
    """The user, the role, and what state-changing requests of a browser must send along."""
    return {
        "user": user.name,
        "role": user.role.name.lower(),
        "csrf": None,
        "version": __version__,
    }
