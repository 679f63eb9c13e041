"""The server as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from flexseg import __version__
from flexseg.serve.access import login_routes
from flexseg.serve.api_errors import add_error_answers
from flexseg.serve.boundary.guarded import add_guards
from flexseg.serve.oversight.retention import forgetting
from flexseg.serve.request_log import RequestLog
from flexseg.serve.routes import (
    case_routes,
    document_routes,
    health_routes,
    job_routes,
    learn_routes,
    model_routes,
    page_routes,
    picture_routes,
)
from flexseg.serve.server import Server
from flexseg.serve.settings import ServeSettings

ROUTERS = (
    health_routes.router,
    login_routes.router,
    model_routes.router,
    case_routes.router,
    picture_routes.router,
    job_routes.router,
    learn_routes.router,
    document_routes.router,
    # Its addresses are what the others leave.
    page_routes.router,
)


def create_app(settings: ServeSettings) -> FastAPI:
    """A server over a folder of cases.

    Raises
    ------
    FlexsegError : nothing of flexseg is at the path of a model, or the database cannot be used.
    """
    server = Server(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with server.running(), forgetting(server, settings.keep_days):
            yield

    app = FastAPI(
        title="flexseg",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    app.state.server = server
    add_error_answers(app)
    add_guards(app, settings)
    app.add_middleware(RequestLog, metrics=server.metrics)
    for router in ROUTERS:
        app.include_router(router)
    return app
