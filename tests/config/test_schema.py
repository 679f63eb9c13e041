"""The schema: described completely, and the rules between its values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from flexseg.config import Experiment
from flexseg.config.base import Section
from flexseg.config.json_schema import config_schema
from flexseg.config.network_options import NETWORKS
from flexseg.config.schema import ClassConfig

SECTIONS: dict[str, type[Section]] = {
    **{name: field.annotation for name, field in Experiment.model_fields.items()},  # type: ignore[misc]
    "mask.classes": ClassConfig,
}


@pytest.mark.parametrize("name", SECTIONS)
def test_every_field_has_a_description(name: str) -> None:
    section = SECTIONS[name]
    assert section.__doc__ != Section.__doc__
    missing = [key for key, field in section.model_fields.items() if not field.description]
    assert missing == []
    assert section.model_fields


def _nodes(node: Any) -> list[dict[str, Any]]:
    """All objects of a JSON document."""
    if isinstance(node, list):
        return [found for item in node for found in _nodes(item)]
    if isinstance(node, dict):
        return [node, *(found for item in node.values() for found in _nodes(item))]
    return []


def test_json_schema_is_closed_and_its_references_resolve() -> None:
    schema = json.loads(json.dumps(config_schema()))
    definitions = schema["$defs"]
    references = {n["$ref"] for n in _nodes(schema) if isinstance(n.get("$ref"), str)}
    assert references == {f"#/$defs/{name}" for name in definitions}
    assert schema["additionalProperties"] is False
    model = definitions.pop("ModelConfig")
    assert all(d["additionalProperties"] is False for d in definitions.values())
    assert model["else"] == {"propertyNames": {"enum": list(model["properties"])}}
    assert set(schema["properties"]) == set(Experiment.model_fields)
    types = {n["type"] for n in _nodes(schema) if isinstance(n.get("type"), str)}
    assert types <= {"object", "array", "string", "number", "integer", "boolean", "null"}


def test_json_schema_tells_ranges_choices_and_descriptions() -> None:
    properties = config_schema()["$defs"]["ModelConfig"]["properties"]
    assert properties["num_classes"]["minimum"] == 1
    assert properties["optimizer"]["enum"] == ["Adam", "AdamW", "SGD"]
    assert properties["image_width"]["description"].startswith("Width")


def test_json_schema_has_the_options_of_all_networks() -> None:
    properties = config_schema()["$defs"]["ModelConfig"]["properties"]
    assert properties["segformer"]["description"].startswith("SegFormer: Size")
    assert properties["num_layers"]["minimum"] == 2
    heads = {option["description"].partition(":")[0] for option in properties["num_heads"]["anyOf"]}
    assert heads == {"SwinUNet", "TransUNet"}
    assert NETWORKS.option_names() <= set(properties)


def test_values_are_fixed_once_checked() -> None:
    experiment = Experiment()
    with pytest.raises(ValidationError):
        experiment.train.epochs = 5  # type: ignore[misc]


def test_default_experiment_survives_json() -> None:
    text = Experiment().model_dump_json()
    assert Experiment.model_validate_json(text) == Experiment()


def test_numbers_become_pairs_and_lists_where_one_is_enough() -> None:
    experiment = Experiment.model_validate(
        {
            "model": {"base_kernels": 5, "metrics": "dice_coef"},
            "augmentor": {"angles": 45},
            "mask": {"classes": [{"id": 1, "color": "#0a0B0c", "values": 7}]},
        }
    )
    assert experiment.model.base_kernels == (5, 5)
    assert experiment.model.metrics == ["dice_coef"]
    assert experiment.augmentor.angles == [45]
    assert experiment.mask.classes[0].color == (10, 11, 12)
    assert experiment.mask.classes[0].values == [7]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"num_classes": 2}, "mask": [2]}, "class ids [2]"),
        ({"model": {"num_classes": 1}, "mask": [2]}, "class ids [2]"),
        ({"model": {"num_classes": 4}, "mask": [1, 3]}, "lacks the class ids [2]"),
        ({"model": {"num_classes": 3}, "mask": [1, 1, 2]}, "the same id 1"),
    ],
)
def test_classes_must_fit_the_head(content: dict[str, Any], message: str) -> None:
    classes = [{"id": i, "color": (i, n, 0)} for n, i in enumerate(content["mask"])]
    with pytest.raises(ValidationError) as caught:
        Experiment.model_validate({"model": content["model"], "mask": {"classes": classes}})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"volume": {"neighbours": 2}}, "neighbours = 2 needs model.image_channels = 5"),
        ({"volume": {"neighbours": 9}}, "less than or equal to 8"),
        ({"volume": {"axis": "axial", "axes": ["coronal"]}}, "'axial' is not among axes"),
        ({"volume": {"axes": ["axial", "axial"]}}, "names one twice"),
        ({"volume": {"axis": "top"}}, "'axial', 'coronal'"),
        (
            {"volume": {"images_dir": "v", "masks_dir": "l"}, "test": {"roi_dir": "r"}},
            "mark what is ignored in the label volumes",
        ),
    ],
)
def test_volumes_must_fit_the_network(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Experiment.model_validate({"model": {"image_channels": 3}} | content)
    assert message in str(caught.value)


@pytest.mark.parametrize(("num_classes", "binary"), [(1, True), (2, False), (5, False)])
def test_one_class_is_binary(num_classes: int, binary: bool) -> None:
    assert Experiment.model_validate({"model": {"num_classes": num_classes}}).is_binary is binary


@pytest.mark.parametrize(
    ("given", "expected"), [([0.5, 2], (0.5, 2.0)), (0.7, (0.7, 0.7)), (None, None)]
)
def test_spacing_may_be_one_number(given: Any, expected: Any) -> None:
    assert Experiment.model_validate({"eval": {"spacing": given}}).eval.spacing == expected


@pytest.mark.parametrize(
    "values",
    [{"spacing": [1, 0]}, {"spacing": -1}, {"spacing": [1, 1, 1]}, {"tolerance": -0.1}]
    + [{"lesion_sizes": sizes} for sizes in ([10, 5], [5, 5], [0, 10])],
)
def test_measures_must_make_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Experiment.model_validate({"eval": values})
