"""The server of the page: bound to this machine, and answering only this machine's browser."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from distiller.errors import ConfigError, DistillerError, OutputError, importing
from distiller.ui.listing import find_outputs, run_details, run_entry, study_details, study_entry

if TYPE_CHECKING:
    from starlette.applications import Starlette

HOST = "127.0.0.1"
LONGEST = 100_000
"""Characters of a text that is asked about."""
LOADED = 2
"""Runs whose models stay in memory."""
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'"
ASSETS = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}


class OpenModels:
    """The models of the runs that were asked last."""

    def __init__(self) -> None:
        self._open: dict[Path, Any] = {}
        self._lock = Lock()

    def ask(self, folder: Path, text: str, pair: str | None) -> tuple[list[dict[str, Any]], list[str]]:
        """Answers of every model of a run, and what was left out."""
        from distiller.deploy.ask import LoadedModels

        with self._lock:  # one at a time: two at once would only distort each other's times
            loaded = self._open.pop(folder, None) or LoadedModels(folder)
            self._open[folder] = loaded
            while len(self._open) > LOADED:
                del self._open[next(iter(self._open))]
            return [asdict(one) for one in loaded.ask(text, pair)], loaded.notes

    def pairs(self, folder: Path) -> bool:
        """Whether the run's task reads two texts."""
        from distiller.deploy.finished import open_finished

        return open_finished(str(folder)).pairs


class Contents:
    """What the page shows of the runs and studies below `folders`, as JSON; each is named by its folder.

    Raises `OutputError` for a folder that does not exist, and for a name that is not in the list.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        find_outputs(folders)
        self._folders = folders
        self._models = OpenModels()

    def listing(self) -> dict[str, Any]:
        """All of them."""
        runs, studies = find_outputs(self._folders)
        return {"runs": [*map(run_entry, runs)], "studies": [*map(study_entry, studies)]}

    def run(self, name: str) -> dict[str, Any]:
        """One run."""
        folder = self._chosen(0, name)
        details = run_details(folder)
        return details | {"pairs": details["kind"] != "translation" and self._models.pairs(folder)}

    def study(self, name: str) -> dict[str, Any]:
        """One study."""
        return study_details(self._chosen(1, name))

    def answers(self, name: str, question: Any) -> dict[str, Any]:
        """What the models of a run answer to `question`, `{"text": …, "pair": …}`. Raises `ConfigError`."""
        text, pair = (question.get(key) if isinstance(question, dict) else None for key in ("text", "pair"))
        if not isinstance(text, str) or not isinstance(pair, str | None) or len(text) + len(pair or "") > LONGEST:
            raise ConfigError(f"a question is a text of at most {LONGEST:,} characters")
        answers, notes = self._models.ask(self._chosen(0, name), text, pair)
        return {"answers": answers, "notes": notes}

    def _chosen(self, which: int, name: str) -> Path:
        """The run (0) or study (1) that the browser names: only one that is in the list."""
        known = {str(folder): folder for folder in find_outputs(self._folders)[which]}
        if name not in known:
            raise OutputError(f"`{name:.200}` is not in the list", hint="reload the page")
        return known[name]


def application(folders: Sequence[Path]) -> "Starlette":
    """The page over the runs and studies below `folders`, as an ASGI application.

    Raises `OutputError` for a folder that does not exist, `MissingPackageError` without the extra `ui`.
    """
    with importing("the page needs", extra="ui"):
        from starlette.applications import Starlette
        from starlette.concurrency import run_in_threadpool
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.requests import Request
        from starlette.responses import JSONResponse, Response
        from starlette.routing import Route
    contents = Contents(folders)

    def named(request: Request) -> str:
        return request.query_params.get("folder", "")

    def asset(request: Request) -> Response:
        name, kind = ASSETS[request.url.path]
        text = (resources.files("distiller.ui") / "assets" / name).read_text(encoding="utf-8")
        headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        return Response(text, media_type=kind, headers=headers)

    async def ask(request: Request) -> Response:
        if not request.headers.get("content-type", "").startswith("application/json"):  # not a form of another page
            raise ConfigError("a question is JSON", hint="Content-Type: application/json")
        try:
            question = await request.json()
        except ValueError:
            raise ConfigError("the question is not JSON") from None
        return JSONResponse(await run_in_threadpool(contents.answers, named(request), question))

    def complaint(request: Request, error: Exception) -> Response:
        assert isinstance(error, DistillerError)
        return JSONResponse({"error": error.message, "hint": error.hint}, status_code=400)

    routes = [Route(path, asset) for path in ASSETS]
    routes += [
        Route("/api/list", lambda request: JSONResponse(contents.listing())),
        Route("/api/run", lambda request: JSONResponse(contents.run(named(request)))),
        Route("/api/study", lambda request: JSONResponse(contents.study(named(request)))),
        Route("/api/ask", ask, methods=["POST"]),
    ]
    # another site's name may point here (DNS rebinding): the host name tells
    here = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    return Starlette(routes=routes, middleware=[here], exception_handlers={DistillerError: complaint})


def serve(folders: Sequence[Path], *, port: int, announce: Callable[[str], None]) -> None:
    """Serve the page on `port` of this machine (0: a free one) until interrupted; `announce` gets its address.

    Raises `ConfigError` if the port is taken, and as `application` does.
    """
    app = application(folders)
    with importing("the page needs", extra="ui"):
        import uvicorn
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} cannot be had: {error.strerror}", hint="--port 0 takes a free one"
            ) from None
        announce(f"http://{HOST}:{listener.getsockname()[1]}/")
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
        server.run(sockets=[listener])
