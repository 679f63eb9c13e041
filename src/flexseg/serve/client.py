"""`flexseg.Client`: a server from Python."""

from __future__ import annotations

import io
import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flexseg.errors import ConfigError, DataError, FlexsegError, ResourceError
from flexseg.files.images import encode_png
from flexseg.files.npy import read_array

Case = dict[str, Any]
_ENDED = ("done", "failed", "canceled")
# Seconds between two looks at a case: the first ones come sooner.
_FIRST_LOOK, _LOOK = 0.05, 1.0
_PORT_OF_SERVER = "http://127.0.0.1:8000"


class Client:
    """A server of `flexseg serve`.

    Cases are dictionaries, as the server describes them: `id`, `name`, `state`, `classes` with
    their pixels, `flag`, `review`, ...

    Parameters
    ----------
    url : where the server listens.
    token : that it has given you; servers on this machine need none.
    patience : seconds to wait in all while the server has no room for an upload.

    Examples
    --------
    >>> client = flexseg.Client("http://127.0.0.1:8000")      # doctest: +SKIP
    >>> case, = client.upload("slice.png")                    # doctest: +SKIP
    >>> client.wait(case)["state"]                            # doctest: +SKIP
    'done'
    >>> client.mask(case).shape                               # doctest: +SKIP
    (512, 512)
    """

    def __init__(
        self, url: str = _PORT_OF_SERVER, token: str | None = None, patience: float = 600.0
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"{url!r} is no address.", f"Give one such as {_PORT_OF_SERVER}.")
        self.url = url.rstrip("/")
        self._token = token
        self._patience = patience

    def models(self) -> list[dict[str, Any]]:
        """The models of the server: `id`, `classes`, `size`, `ready`, `default`, ..."""
        return self._json("GET", "models")

    def upload(
        self,
        source: str | Path | NDArray,
        *,
        model: str | None = None,
        priority: int = 0,
        reference: NDArray[np.uint8] | None = None,
    ) -> list[Case]:
        """Upload an image, a volume or a zip of these, to be predicted.

        Parameters
        ----------
        source : a file, or pixels [H, W] or [H, W, C], or voxels [z, y, x].
        model : `id` of the one that predicts; None: the default one.
        priority : from -100 to 100; higher ones come first.
        reference : true class ids of the size of the only case.

        Returns
        -------
        The cases, several of an archive.

        Raises
        ------
        DataError : the file cannot be read.
        ResourceError : the server had no room for it for too long, or does not answer.
        """
        fields = {"priority": str(priority), **({"model": model} if model else {})}
        if isinstance(source, str | Path):
            path = Path(source)
            file = (path.name, path.read_bytes())
        else:
            file = ("array.npy", _npy(np.asarray(source)))
        files = {"file": file}
        if reference is not None:
            files["reference"] = ("reference.npy", _npy(reference))
        return self._form("POST", "cases", fields, files)["cases"]

    def cases(self, *, state: str | None = None, review: str | None = None) -> Iterator[Case]:
        """All cases, the newest first.

        Parameters
        ----------
        state, review : only those; the review "none" is of cases that nobody has judged.
        """
        given = {"state": state, "review": review, "limit": 100}
        after: str | None = None
        while True:
            query = {k: v for k, v in {**given, "after": after}.items() if v is not None}
            page = self._json("GET", f"cases?{urlencode(query)}")
            yield from page["cases"]
            if (after := page["next"]) is None:
                return

    def case(self, case: Case | str) -> Case:
        """A case as it is now."""
        return self._json("GET", _path(case))

    def wait(self, case: Case | str, seconds: float = 600.0) -> Case:
        """A case once its prediction has ended.

        Raises
        ------
        DataError : it cannot be predicted.
        ResourceError : it takes longer than so many seconds.
        """
        end, pause = time.monotonic() + seconds, _FIRST_LOOK
        while (found := self.case(case))["state"] not in _ENDED:
            if time.monotonic() > end:
                raise ResourceError(
                    f"The case is still {found['state']} after {seconds:g} seconds.",
                    "Wait longer, or see what the server is doing.",
                    found["name"],
                )
            time.sleep(pause)
            pause = min(_LOOK, 1.5 * pause)
        if found["state"] == "failed":
            error = found["error"]
            raise DataError(error["error"], error["fix"], error["where"])
        return found

    def mask(
        self,
        case: Case | str,
        source: Literal["current", "prediction", "correction", "reference"] = "current",
        *,
        model: str | None = None,
    ) -> NDArray[np.uint8]:
        """Class ids [H, W] of an image, [z, y, x] of a volume.

        Parameters
        ----------
        source : "current" is the correction, where there is one, else the prediction.
        model : whose prediction is meant; None: the newest one.
        """
        query = {"format": "npy", "source": source, **({"model": model} if model else {})}
        content = self._get(f"{_path(case)}/export?{urlencode(query)}")
        return read_array(io.BytesIO(content), len(content), Path("mask.npy"))

    def download(self, case: Case | str, path: str | Path, source: str = "current") -> Path:
        """Save the mask of a case.

        Parameters
        ----------
        path : its suffix is the format: `.png` or `.npy` of images; `.nii.gz`, `.nii`, `.mha`,
            `.nrrd`, `.h5` or `.npy` of volumes.
        """
        path = Path(path)
        known = path.name.removeprefix(path.name.split(".")[0])[1:]
        query = urlencode({"format": known, "source": source})
        path.write_bytes(self._get(f"{_path(case)}/export?{query}"))
        return path

    def image(self, case: Case | str, **options: float) -> NDArray[np.uint8]:
        """An image, or a slice of a volume, in 8 bits: [H, W] or [H, W, 3].

        Parameters
        ----------
        options : `slice` and `axis` of volumes; `low` and `high`, the values shown as black and
            white.
        """
        content = self._get(f"{_path(case)}/image.png?{urlencode(options)}")
        return np.asarray(Image.open(io.BytesIO(content)))

    def predict(self, case: Case | str, model: str | None = None, priority: int = 0) -> Case:
        """Predict a case again, or with another model."""
        return self._json("POST", f"{_path(case)}/predict", {"model": model, "priority": priority})

    def correct(
        self, case: Case | str, labels: NDArray[np.uint8], seconds: float | None = None
    ) -> Case:
        """Replace the mask of a case.

        Parameters
        ----------
        labels : class ids of the case's size, 255 where nobody has looked.
        seconds : spent on it.
        """
        fields = {} if seconds is None else {"seconds": str(seconds)}
        labels = np.asarray(labels, np.uint8)
        file = ("mask.png", encode_png(labels)) if labels.ndim == 2 else ("mask.npy", _npy(labels))
        return self._form("PUT", f"{_path(case)}/correction", fields, {"mask": file})

    def review(self, case: Case | str, verdict: Literal["accepted", "rejected"] | None) -> Case:
        """Accept or reject the mask of a case; None takes it back."""
        return self._json("POST", f"{_path(case)}/review", {"verdict": verdict})

    def next(self, by: Literal["quality", "random"] = "quality") -> Case | None:
        """The case to look at next; None if there is none."""
        return self._json("GET", f"next?by={by}")

    def learn(
        self, *, model: str | None = None, seconds: float = 60.0, patience: float = 3600.0
    ) -> dict[str, Any]:
        """Train on what was accepted and corrected, and wait until it is decided what is better.

        Parameters
        ----------
        model : `id` of the one that learns; None: the default one.
        seconds : of the training alone.
        patience : seconds to wait for the end.

        Returns
        -------
        What `learning` tells then.

        Raises
        ------
        DataError : there is too little to learn from.
        ResourceError : it takes longer than one waits; it goes on.
        """
        self._json("POST", "learn", {"model": model, "seconds": seconds})
        end = time.monotonic() + patience
        while (found := self.learning(model))["job"]["state"] not in _ENDED:
            if time.monotonic() > end:
                raise ResourceError(
                    f"The training still goes on after {patience:g} seconds.",
                    "Look at `learning` later.",
                    self.url,
                )
            time.sleep(_LOOK)
        if error := found["job"]["error"]:
            raise DataError(error["error"], error["fix"], error["where"])
        return found

    def learning(self, model: str | None = None) -> dict[str, Any]:
        """What a model has learned: `versions`, `current`, `waiting` cases, the `job`, ..."""
        return self._json("GET", f"learn?{urlencode({'model': model} if model else {})}")

    def use_version(self, number: int, model: str | None = None) -> dict[str, Any]:
        """Let a version of a model predict from now on; see `learning`."""
        name = quote(model or self.learning()["model"], safe="")
        return self._json("PUT", f"models/{name}/current", {"version": number})

    def cancel(self, case: Case | str) -> Case:
        """End the prediction of a case that waits or runs."""
        return self._json("POST", f"{_path(case)}/cancel", {})

    def delete(self, case: Case | str) -> None:
        """Delete a case with all its files."""
        self._send("DELETE", _path(case))

    def _json(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        return json.loads(self._send(method, path, body, kind))

    def _form(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str],
        files: Mapping[str, tuple[str, bytes]],
    ) -> Any:
        boundary = uuid.uuid4().hex
        body = b"".join(_parts(boundary, fields, files))
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return json.loads(self._send(method, path, body, kind))

    def _get(self, path: str) -> bytes:
        return self._send("GET", path)

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The content of an answer; waits where the server has no room."""
        own = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        end = time.monotonic() + self._patience
        while True:
            request = urllib.request.Request(  # noqa: S310 - the scheme has been looked at
                f"{self.url}/api/{path}", body, {**(headers or {}), **own}, method=method
            )
            try:
                with urllib.request.urlopen(request) as answer:  # noqa: S310
                    return answer.read()
            except urllib.error.HTTPError as error:
                pause = float(error.headers.get("Retry-After") or 0)
                if not pause or time.monotonic() + pause > end:
                    raise _error(error) from None
                time.sleep(pause)
            except OSError as error:
                raise ResourceError(
                    f"The server does not answer ({error}).",
                    "Start it with `flexseg serve`, or check the address.",
                    self.url,
                ) from None


def _path(case: Case | str) -> str:
    return f"cases/{quote(case if isinstance(case, str) else case['id'], safe='')}"


def _npy(array: NDArray) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def _parts(
    boundary: str, fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes]]
) -> Sequence[bytes]:
    """The content of a form."""
    found = []
    for name, value in fields.items():
        found.append(_part(boundary, name, "", value.encode()))
    for name, (file, content) in files.items():
        plain = file.replace('"', "%22").replace("\r", " ").replace("\n", " ")
        found.append(_part(boundary, name, f'; filename="{plain}"', content))
    return [*found, f"--{boundary}--\r\n".encode()]


def _part(boundary: str, name: str, more: str, content: bytes) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n'
    kind = "Content-Type: application/octet-stream\r\n" if more else ""
    return f"{head}{kind}\r\n".encode() + content + b"\r\n"


def _error(error: urllib.error.HTTPError) -> FlexsegError:
    """What the server says, as an error of ours."""
    try:
        told = json.loads(error.read())
        problem, fix, where = told["error"], told["fix"], told["where"]
    except (ValueError, KeyError, TypeError):
        problem, fix, where = f"The server answers {error}.", "Look into its log.", None
    kinds = {400: ConfigError, 401: ConfigError, 403: ConfigError, 429: ResourceError}
    kinds |= {503: ResourceError, 500: FlexsegError}
    return kinds.get(error.code, DataError)(problem, fix, where)
