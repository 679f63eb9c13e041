"""What a network has seen: compact in its file, and known by content alone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flexseg.config import Experiment
from flexseg.model_file.model_description import read_seen
from flexseg.model_file.seen_images import DIGEST_BYTES, SeenImages, content_digest, image_digest
from flexseg.models.package import ModelPackage

Digests = st.frozensets(st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES), max_size=8)


def test_a_hash_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"abc")
    shutil.copy(tmp_path / "a.png", tmp_path / "other.tif")
    # The beginning of the SHA-256 of "abc", as in FIPS 180-2.
    expected = bytes.fromhex("ba7816bf8f01cfea414140de5dae2223")
    assert image_digest(tmp_path / "a.png") == image_digest(tmp_path / "other.tif") == expected
    assert content_digest(b"abc") == expected


def test_what_trained_does_not_count_as_validation(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    for path, content in zip(paths, (b"1", b"1", b"2"), strict=True):
        path.write_bytes(content)
    seen = SeenImages.of(paths[:1], paths[1:])
    assert seen.trained == {content_digest(b"1")} and seen.validated == {content_digest(b"2")}


@given(Digests, Digests, Digests)
def test_arrays_and_unions(a: frozenset[bytes], b: frozenset[bytes], c: frozenset[bytes]) -> None:
    first, second = SeenImages(a, b - a), SeenImages(c)
    assert SeenImages.from_arrays(first.as_arrays()) == first
    both = first | second
    assert both.trained == a | c and both.all == a | b | c and not both.trained & both.validated


def test_a_package_keeps_them_in_16_bytes_each(tmp_path: Path) -> None:
    experiment = Experiment.model_validate({"model": {"num_layers": 2, "base_filters": 2}})
    package = ModelPackage.create(experiment)
    package.save(tmp_path / "plain.h5", {})
    assert read_seen(tmp_path / "plain.h5") == SeenImages()
    hashes = np.random.default_rng(0).integers(0, 256, (100_000, DIGEST_BYTES), np.uint8)
    seen = SeenImages(frozenset(row.tobytes() for row in hashes))
    replace(package, seen=seen).save(tmp_path / "known.h5", {})
    grown = (tmp_path / "known.h5").stat().st_size - (tmp_path / "plain.h5").stat().st_size
    assert grown < 1.01 * 16 * 100_000
    assert ModelPackage.load(tmp_path / "known.h5").seen == seen
