"""The JSON Schema of a config, for editors: [model] has the options of all networks."""

from __future__ import annotations

from typing import Any

from flexseg.config.network_options import NETWORKS
from flexseg.config.schema import Experiment

JsonSchema = dict[str, Any]


def config_schema() -> JsonSchema:
    """The schema, with the options of the networks that are registered.

    Only a network of the user's own (`package.module:builder`) may have further keys.
    """
    schema = Experiment.model_json_schema()
    model = schema["$defs"]["ModelConfig"]
    model["properties"] |= {key: _option(key) for key in sorted(NETWORKS.option_names())}
    del model["additionalProperties"]
    model["if"] = {"properties": {"model": {"pattern": ":"}}, "required": ["model"]}
    model["else"] = {"propertyNames": {"enum": list(model["properties"])}}
    return schema


def _option(key: str) -> JsonSchema:
    """One key, which may mean different things to different networks."""
    variants: list[tuple[JsonSchema, list[str]]] = []
    for name in NETWORKS.readers(key):
        option = NETWORKS.get(name).model_json_schema()["properties"][key]
        for known, names in variants:
            if known == option:
                names.append(name)
                break
        else:
            variants.append((option, [name]))
    described = [
        option | {"description": f"{', '.join(names)}: {option['description']}"}
        for option, names in variants
    ]
    return described[0] if len(described) == 1 else {"anyOf": described}
