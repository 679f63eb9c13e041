"""Whether the server lives, is ready, and how it does."""

from __future__ import annotations

from fastapi import APIRouter, Response

from flexseg.serve.api_errors import ApiError
from flexseg.serve.prometheus import CONTENT_TYPE_LATEST
from flexseg.serve.server import Serving

router = APIRouter(tags=["health"])


@router.get("/api/health")
def health() -> dict[str, str]:
    """The server answers."""
    return {"status": "ok"}


@router.get("/api/ready")
def ready(server: Serving) -> dict[str, str]:
    """All models are loaded; 503 until then."""
    for engine in server.engines.models.values():
        if engine.error is not None:
            raise ApiError(
                503,
                f"The model {engine.id} cannot be loaded.",
                "Look into the log of the server.",
                engine.id,
            )
        if not engine.ready:
            raise ApiError(
                503,
                f"The model {engine.id} is being loaded.",
                "Try again soon.",
                engine.id,
                retry_after=1,
            )
    return {"status": "ready"}


@router.get("/metrics")
def metrics(server: Serving) -> Response:
    """Figures for Prometheus."""
    return Response(server.metrics.text(), media_type=CONTENT_TYPE_LATEST)
