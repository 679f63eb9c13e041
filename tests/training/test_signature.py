"""What keeps one training from going on with the checkpoint of another."""

from __future__ import annotations

from flexseg.training.signature import changes


def test_keys_that_an_older_version_did_not_have_are_at_their_defaults() -> None:
    now = {"augmentation.color": 0.0, "preprocessing.channel_files": False, "train.seed": 1}
    assert changes(now, {"train.seed": 1}) == []
    assert changes(now | {"augmentation.color": 0.2}, {"train.seed": 1}) == ["augmentation.color"]


def test_other_values_and_vanished_keys_are_changes() -> None:
    assert changes({"train.seed": 2}, {"train.seed": 1, "precision": "float32"}) == [
        "precision",
        "train.seed",
    ]


def test_options_of_other_networks_change_nothing() -> None:
    assert changes({"model.model": "UNet"}, {"model.model": "UNet", "model.depths": [1, 2]}) == []


def test_names_of_classes_change_nothing() -> None:
    first, second = (
        {"mask.classes": {"binary": True, "classes": [{"id": 1, "name": name, "values": [9]}]}}
        for name in ("class 1", "nucleus")
    )
    assert changes(first, second) == []
    second["mask.classes"]["classes"][0]["values"] = [8]
    assert changes(first, second) == ["mask.classes"]
