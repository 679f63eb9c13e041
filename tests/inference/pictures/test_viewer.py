import base64
import gzip
import hashlib
import html
import json
import re
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.errors import ResourceError
from flexseg.files.volumes.read import read_volume
from flexseg.files.volumes.volume import Volume
from flexseg.inference.pictures import viewer
from flexseg.inference.pictures.viewer import shrink_factors, write_viewer
from synthetic_volumes import OBLIQUE, ORDERS, TILTED

LABELS = LabelMap(
    (
        LabelClass(0, "background", ((0, 0, 0),)),
        LabelClass(1, "liver </script>", ((0, 255, 0),)),
        LabelClass(2, "tumour", ((255, 0, 0),)),
    ),
    binary=False,
)

pytestmark = pytest.mark.usefixtures("niivue_bundle")


def volume(direction=OBLIQUE, shape=(6, 8, 10), dtype=np.int16) -> tuple[Volume, np.ndarray]:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    labels = np.zeros(shape, np.uint8)
    labels[1:3, 2:6, 5:9] = 1
    return Volume(array, (0.5, 0.75, 3.0), (10.0, -20.0, 30.5), direction), labels


def embedded(page: str, name: str, folder) -> Volume:
    content = re.search(rf'<script type="text/plain" id="{name}">([^<]*)</script>', page)
    path = folder / f"{name}.nii.gz"
    path.write_bytes(base64.b64decode(content.group(1), validate=True))
    return read_volume(path)


def settings(page: str) -> dict:
    found = re.search(r'id="settings">(.*?)</script>', page)
    return json.loads(found.group(1))


def write(tmp_path, image, labels, **more) -> tuple[str, Volume, Volume]:
    path = tmp_path / "case.html"
    write_viewer(path, image, labels, LABELS, **more)
    page = path.read_text("utf-8")
    return page, embedded(page, "image", tmp_path), embedded(page, "labels", tmp_path)


class TestPage:
    @pytest.mark.parametrize("order", ORDERS[::7])
    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64, np.int32])
    def test_voxels_and_places(self, tmp_path, order, dtype):
        image, labels = volume(dtype=dtype)
        turned = image.oriented(order)
        _, shown, masks = write(tmp_path, turned, image.with_array(labels).oriented(order).array)
        back = shown.oriented(image.orientation)
        assert np.array_equal(back.array, image.array)
        assert np.allclose(back.affine, image.affine, atol=1e-4)
        again = masks.oriented(image.orientation)
        assert np.array_equal(again.array, labels)
        assert np.allclose(again.affine, image.affine, atol=1e-4)
        assert shown.orientation == "RAS"

    def test_starts_within_a_label(self, tmp_path):
        image, labels = volume()
        page, _, _ = write(tmp_path, image, labels)
        x, y, z = settings(page)["start"]
        place = np.linalg.inv(image.affine) @ [-x, -y, z, 1]
        i, j, k = np.rint(place[:3]).astype(int)
        assert labels[k, j, i] == 1

    def test_legend(self, tmp_path):
        image, labels = volume()
        page, _, _ = write(tmp_path, image, labels)
        assert "liver &lt;/script&gt;" in page
        assert "liver </script>" not in page
        assert f"{labels.sum() * image.voxel_ml:.3g} ml" in page
        assert [c["ml"] is None for c in settings(page)["classes"]] == [False, True]

    @pytest.mark.parametrize("title", ["@@niivue@@", "<@@niivue@@>", "<@@image@@><@@labels@@>"])
    def test_names_that_look_like_marks(self, tmp_path, title):
        image, labels = volume()
        page, _, masks = write(tmp_path, image, labels, title=title)
        assert f"<title>{html.escape(title)}" in page
        assert np.array_equal(masks.oriented(image.orientation).array, labels)

    def test_no_address_to_load_from(self, tmp_path):
        page, _, _ = write(tmp_path, *volume())
        assert "default-src 'none'" in page
        assert not re.search(r"""(src|href|action)\s*=\s*["']?(https?:)?//""", page)
        assert [p.name for p in tmp_path.iterdir() if p.suffix != ".gz"] == ["case.html"]

    def test_nothing_found(self, tmp_path):
        image, labels = volume()
        page, _, _ = write(tmp_path, image, np.zeros_like(labels))
        assert page.count("not found") == 2

    def test_tilted_gantry_is_told(self, tmp_path):
        page, shown, _ = write(tmp_path, *volume(TILTED))
        assert "tilted gantry" in page
        assert shown.sheared

    def test_colours_channels_and_gaps(self, tmp_path):
        image, labels = volume()
        rgb = np.stack([image.array.astype(np.uint8)] * 3, axis=-1)
        page, shown, _ = write(tmp_path, Volume(rgb, image.spacing), labels)
        assert shown.array.shape == labels.shape
        assert settings(page)["window"] == [0, 255]
        holes = image.array.astype(np.float32)
        holes[0, 0, 0] = np.inf
        _, shown, _ = write(tmp_path, image.with_array(holes), labels)
        assert np.isfinite(shown.array).all()

    def test_bundle_is_the_published_one(self):
        folder = resources.files("flexseg.inference.pictures") / "assets"
        found = hashlib.sha256(folder.joinpath("niivue.umd.js").read_bytes()).hexdigest()
        assert found in folder.joinpath("niivue.LICENSES.txt").read_text("utf-8")

    def test_installation_without_bundle(self, tmp_path, monkeypatch):
        monkeypatch.setattr(viewer, "NIIVUE", tmp_path / "absent.js")
        with pytest.raises(ResourceError, match=r"tools/browser_libraries\.py"):
            write_viewer(tmp_path / "case.html", *volume(), LABELS)
        assert list(tmp_path.iterdir()) == []

    def test_bundle_comes_whole(self, tmp_path):
        page, _, _ = write(tmp_path, *volume())
        code = re.search(r'id="niivue">([^<]*)</script>', page).group(1)
        bundle = resources.files("flexseg.inference.pictures") / "assets" / "niivue.umd.js"
        assert gzip.decompress(base64.b64decode(code)) == bundle.read_bytes()


class TestShrinking:
    def test_large_volumes(self, tmp_path, monkeypatch):
        monkeypatch.setattr(viewer, "LARGEST_BYTES", 3 * 6 * 8 * 10 // 4)
        image, labels = volume()
        page, shown, masks = write(tmp_path, image, labels)
        assert "Shown at reduced resolution" in page
        assert shown.array.size * 3 <= viewer.LARGEST_BYTES
        # The millilitres are those of all voxels.
        assert f"{labels.sum() * image.voxel_ml:.3g} ml" in page
        assert shown.affine == pytest.approx(masks.affine)
        # A linear ramp stays one, at the places where it was.
        ordered = image.oriented("RAS")
        step = np.linalg.inv(ordered.affine) @ shown.affine @ [1, 1, 1, 1]
        x, y, z = step[:3]
        fx, fy, fz = np.rint(np.array(shown.spacing) / ordered.spacing).astype(int)
        block = ordered.array[fz : 2 * fz, fy : 2 * fy, fx : 2 * fx]
        assert shown.array[1, 1, 1] == np.rint(block.mean())
        assert (x, y, z) == pytest.approx(
            (1.5 * fx - 0.5, 1.5 * fy - 0.5, 1.5 * fz - 0.5), abs=1e-3
        )

    @given(
        shape=st.tuples(*[st.integers(1, 3000)] * 3),
        spacing=st.tuples(*[st.sampled_from([0.3, 0.5, 1.0, 7.5])] * 3),
        size=st.integers(2, 5),
    )
    def test_factors(self, shape, spacing, size):
        empty = Volume(np.broadcast_to(np.uint8(0), shape), spacing)
        factors = shrink_factors(empty, size)
        now = -(-np.array(shape) // factors)
        assert now.prod() * size <= viewer.LARGEST_BYTES
        assert now.max() <= 2048
        if np.prod(shape) * size <= viewer.LARGEST_BYTES and max(shape) <= 2048:
            assert factors == (1, 1, 1)

    def test_thick_slices_stay(self):
        thick = Volume(np.broadcast_to(np.uint8(0), (60, 1500, 1500)), (0.3, 0.3, 5.0))
        assert shrink_factors(thick, 3) == (1, 3, 3)

    def test_majority(self):
        slab = np.array([[[1, 1, 2, 0], [0, 0, 2, 0], [3, 0, 0, 0]]], np.uint8)
        # A tie goes to the class; the last row's blocks are smaller.
        assert viewer._majorities(slab, (2, 2)).tolist() == [[1, 2], [3, 0]]
