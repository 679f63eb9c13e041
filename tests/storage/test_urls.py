"""URLs, the paths that stand for them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexseg.errors import ConfigError
from flexseg.storage.urls import local_path, problem_of, root, url_of, with_urls


@pytest.mark.parametrize(
    "url", ["s3://bucket", "s3://bucket/a b/c.png", "gs://bucket/ä", "az://container/x/?y#z.nii.gz"]
)
def test_a_url_and_its_path_are_one(url: str) -> None:
    path = local_path(url)
    assert path is not None
    assert path.is_relative_to(root())
    assert url_of(path) == url
    # As arguments of commands, which are paths, have one slash left.
    assert local_path(Path(url + "/")) == path
    assert with_urls(f"{path}: no") == f"{url}: no"


@pytest.mark.parametrize("path", ["data", "C:/data", r"C:\data", "a:b", "s3/x", "./s3:/x"])
def test_paths_are_no_urls(path: str) -> None:
    assert local_path(path) is None
    assert url_of(Path(path).absolute()) is None


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3://b/../x", "s3://b/a//c", "s3://b/./a", "s3://b/a\nb", "s3:///b", "az://b/..",
     "gs://b/" + "x" * 256, "https://b/x", "s3a://b/x"],
)  # fmt: skip
def test_what_leads_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        local_path(url)


def test_credentials_are_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="environment") as caught:
        local_path("s3://key:very-secret@bucket/x")
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["a:b", "nul", "COM1.png", "a.", "b ", "a*", 'x"', "<"])
def test_names_that_windows_lacks(name: str) -> None:
    assert problem_of(name, windows=True)
    assert problem_of(name, windows=False) is None
