"""Pretrained weights, downloaded whole and as they were published, or not at all."""

from __future__ import annotations

import hashlib
import logging
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.error import URLError
from urllib.request import urlopen

from flexseg.errors import DataError
from flexseg.outputs import make_folder, whole

logger = logging.getLogger(__name__)

DOWNLOAD_TIMEOUT = 10.0
_BLOCK = 1 << 20
# Of files of keras.applications, as Keras knows them: MD5, or SHA-256 where it is that long.
HASHES = {
    "efficientnetb0_notop.h5": "50bc09e76180e00e4465e1a485ddc09d",
    "efficientnetb1_notop.h5": "74c4e6b3e1f6a1eea24c589628592432",
    "efficientnetb2_notop.h5": "111f8e2ac8aa800a7a99e3239f7bfb39",
    "efficientnetb3_notop.h5": "af6d107764bb5b1abb91932881670226",
    "efficientnetb4_notop.h5": "ebc24e6d6c33eaebbd558eafbeedf1ba",
    "efficientnetb5_notop.h5": "38879255a25d3c92d5e44e04ae6cec6f",
    "efficientnetb6_notop.h5": "9ecce42647a20130c1f39a5d4cb75743",
    "efficientnetb7_notop.h5": "cbcfe4450ddf6f3ad90b1b398090fe4a",
    "efficientnetv2-b0_notop.h5": "893217f2bb855e2983157299931e43ff",
    "efficientnetv2-b1_notop.h5": "0e80663031ca32d657f9caa404b6ec37",
    "efficientnetv2-b2_notop.h5": "1dfe2e7a5d45b6632553a8961ea609eb",
    "efficientnetv2-b3_notop.h5": "f6abf7b5849ac99a89b50dd3fd532856",
    "efficientnetv2-s_notop.h5": "af0682fb74e8c54910f2d4393339c070",
    "efficientnetv2-m_notop.h5": "1b8dc055df72dde80d614482840fe342",
    "efficientnetv2-l_notop.h5": "b0b66b5c863aef5b46e8608fe1711615",
    "convnext_tiny_notop.h5": "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
    "convnext_small_notop.h5": "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
    "convnext_base_notop.h5": "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
    "convnext_large_notop.h5": "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
    "convnext_xlarge_notop.h5": "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
    "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5": "4d473c1dd8becc155b73f8504c6f6626",
    "resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5": "88cf7a10940856eca736dc7b7e228a21",
    "resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5": "ee4c566cf9a93f14d82f913c2dc6dd0c",
    "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5": "fac2f116257151a9d068a22e544a4917",
    "resnet101v2_weights_tf_dim_ordering_tf_kernels_notop.h5": "c0ed64b8031c3730f411d2eb4eea35b5",
    "resnet152v2_weights_tf_dim_ordering_tf_kernels_notop.h5": "ed17cf2e0169df9d443503ef94b23b33",
}


class DownloadError(Exception):
    """A file could not be downloaded whole; the text says why."""


def published_file(url: str, path: Path) -> Path:
    """The file at `path`, downloaded unless it is there already; it has the hash of `HASHES`.

    Raises
    ------
    DownloadError : the network fails, or what came is not what was published; nothing stays.
    DataError : the file that is there is not what was published.
    ResourceError : it cannot be written.
    """
    if not path.exists():
        logger.info("Downloading %s", url)
        _download(url, path)
        return path
    with path.open("rb") as file:
        found = hashlib.file_digest(file, _hash_of(path.name)).hexdigest()
    if found != HASHES[path.name]:
        raise DataError(
            "This is not the file that was published under this name; its hash differs.",
            f"Remove it, or replace it by the file of {url}.",
            str(path),
        )
    return path


def _hash_of(name: str) -> str:
    return "md5" if len(HASHES[name]) == 32 else "sha256"


def _download(url: str, path: Path) -> None:
    make_folder(path.parent)
    try:
        with urlopen(url, timeout=DOWNLOAD_TIMEOUT) as answer, whole(path) as part:  # noqa: S310
            _receive(answer, part)
    except (URLError, HTTPException, TimeoutError) as error:
        raise DownloadError(str(error)) from None


def _receive(answer: IO[bytes], part: Path) -> None:
    digest = hashlib.new(_hash_of(part.name))
    with part.open("wb") as file:
        while block := _next_block(answer):
            digest.update(block)
            file.write(block)
    if digest.hexdigest() != HASHES[part.name]:
        size = part.stat().st_size
        raise DownloadError(f"{size} bytes were received, which are not those that were published")


def _next_block(answer: IO[bytes]) -> bytes:
    try:
        return answer.read(_BLOCK)
    except (OSError, HTTPException) as error:  # of the network, unlike those of the disk
        raise DownloadError(str(error) or type(error).__name__) from None
