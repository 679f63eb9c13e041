"""From a config file to a checked `Experiment` with findings and the source of each value."""

from __future__ import annotations

import ast
import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from flexseg.config import legacy, translation
from flexseg.config.augmentation import AUGMENTOR_SECTIONS
from flexseg.config.base import PathRole, Section
from flexseg.config.findings import Finding, Severity, amount
from flexseg.config.legacy_keys import ALIASES, COMMAND_LINE, ORIGINAL
from flexseg.config.model import ModelConfig
from flexseg.config.network_options import NETWORKS, reads
from flexseg.config.schema import Experiment
from flexseg.errors import ConfigError, joined
from flexseg.machine import real_path
from flexseg.near_paths import check_config
from flexseg.outputs import refuse_input, refuse_overlap
from flexseg.storage.mirror import local_copy, look, named

# Where values come from that nobody has given.
_DEFAULT = "default"


@dataclass(frozen=True)
class LoadedConfig:
    """A config file that was read and checked.

    Attributes
    ----------
    path : the file, absolute.
    experiment : its content; all paths are absolute.
    findings : warnings and notes about the file (errors were raised).
    sources : "section.key" -> where the value came from; keys that are absent have the default.
    legacy : the file is in the antillia syntax.
    trust : whether a model package may import a `package.module:builder` although this config does
        not name it: the run of this config was trained with it.
    """

    path: Path
    experiment: Experiment
    findings: tuple[Finding, ...]
    sources: dict[str, str]
    legacy: bool
    trust: Callable[[str], bool] | None = None

    def source(self, section: str, key: str) -> str:
        """Where a value came from, for people."""
        return self.sources.get(f"{section}.{key}", _DEFAULT)


# In place of pydantic's "should be a valid integer, unable to parse string as an integer".
_EXPECTED = {
    **dict.fromkeys(("int_parsing", "int_from_float"), "Input should be a whole number"),
    "float_parsing": "Input should be a number",
    "bool_parsing": "Input should be true or false",
}
# Kinds of values that a location of pydantic's names where several are allowed.
_KIND_TRIED = re.compile(r"constrained-\w+|function-.+|[\w-]+\[.*\]|int|float|str|bool|path")


def load(
    path: Path, overrides: Sequence[str] = (), *, strict: bool = False, run_code: bool = False
) -> LoadedConfig:
    """Read a `.toml` config, or an antillia config of any other name.

    Parameters
    ----------
    overrides : "section.key=value" texts; relative paths in them are relative to the current
        directory, those in the file to the file.
    strict : unknown keys are errors in old configs too (in TOML they always are).
    run_code : import the module of a network of the user's own, which knows the network's options.

    Raises
    ------
    ConfigError : the file cannot be read, or does not fit the schema.
    """
    path = local_copy(path)
    if not path.is_file():
        raise ConfigError(
            "There is no such config file.",
            check_config(path),
            str(path),
        )
    is_legacy = path.suffix.lower() != ".toml"
    raw = legacy.read(path) if is_legacy else _read_toml(path)
    return _checked(raw, path, overrides, is_legacy=is_legacy, strict=strict, run_code=run_code)


def with_overrides(
    loaded: LoadedConfig, overrides: Sequence[str], *, strict: bool = False, run_code: bool = False
) -> LoadedConfig:
    """A config that was read from elsewhere than its file, with values of the command line.

    Parameters
    ----------
    overrides, strict, run_code : see `load`.

    Raises
    ------
    ConfigError : they do not fit the schema.
    """
    if not overrides:
        return loaded
    raw = legacy.RawConfig(file=loaded.path.name)
    for section, content in relative_outputs(loaded.experiment).model_dump().items():
        for key, value in content.items():
            raw.values[section, key] = value
            raw.sources[section, key] = loaded.source(section, key)
    result = _checked(
        raw, loaded.path, overrides, is_legacy=False, strict=strict, run_code=run_code
    )
    sources = {key: source for key, source in result.sources.items() if source != _DEFAULT}
    return replace(loaded, experiment=result.experiment, sources=sources)


def _checked(
    raw: legacy.RawConfig,
    path: Path,
    overrides: Sequence[str],
    *,
    is_legacy: bool,
    strict: bool,
    run_code: bool,
) -> LoadedConfig:
    """The config that values are, once those of the command line have taken their places."""
    for text in overrides:
        try:
            override(raw, text, is_legacy)
        except ConfigError as error:
            raw.errors.append(error)
    _drop_empty_texts(raw)
    if is_legacy:
        translation.to_canonical(raw)
    network = _network_section(raw, path.parent if run_code else None)
    sections = section_models() | {"model": network}
    _note_foreign_options(raw, network)
    drop_unknown_keys(raw, sections, path, strict=strict or not is_legacy)
    _absolute_paths(raw, sections, path)
    experiment = validated(raw, network, path)
    if experiment is None:
        raise joined(raw.errors)
    experiment = resolve_outputs(experiment, path.parent)
    if (run_dir := named(experiment.train.run_dir)) is not None:
        look(run_dir)
    inputs = input_paths(experiment, path)
    refuse_overlap(output_folders(experiment), inputs)
    refuse_input("[train] run_dir", experiment.train.run_dir, inputs)
    _note_gaps(raw, experiment)
    if strict and (warnings := [f for f in raw.findings if f.severity is Severity.WARNING]):
        fix = "Correct it, or leave --strict out."
        raise joined([ConfigError(f.what, f.fix or fix, f.where) for f in warnings])
    sources = {f"{section}.{key}": source for (section, key), source in raw.sources.items()}
    return LoadedConfig(path, experiment, tuple(raw.findings), sources, is_legacy)


def _read_toml(path: Path) -> legacy.RawConfig:
    try:
        data = tomllib.loads(legacy.decode(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"This is not valid TOML: {error}.",
            "Text needs quotes, and true and false are in lower case; a file in the old syntax "
            "must not be named *.toml.",
            str(path),
        ) from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(
            f"A value of this file cannot be read: {reason}.",
            "Write plain numbers, texts and short lists.",
            str(path),
        ) from None
    raw = legacy.RawConfig()
    for section, content in data.items():
        if not isinstance(content, dict):
            raw.errors.append(
                ConfigError(
                    f"The key {section!r} stands outside of any [section].",
                    "Move it below its section's header.",
                    str(path),
                )
            )
            continue
        for key, value in content.items():
            raw.values[section, key] = value
            raw.sources[section, key] = path.name
    return raw


def override(raw: legacy.RawConfig, text: str, is_legacy: bool) -> None:
    """Take a `section.key=value` of the command line into a config.

    Raises
    ------
    ConfigError : it is none.
    """
    name, equals, value_text = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not equals or not dot or not key:
        raise ConfigError(
            f"{text!r} is not of the form section.key=value.",
            "Write for example --set train.epochs=20.",
            COMMAND_LINE,
        )
    home = ALIASES.get((section, key), (section, key)) if is_legacy else (section, key)
    value = _override_value(value_text.strip())
    if home in _path_keys() and value is not None:
        value = value_text.strip()  # it may look like a number (run_dir=2026): it stays text
    if home == ("mask", "classes") and not is_legacy:
        value = _with_names(raw.values.get(home), value)
    if is_legacy:
        legacy.enter(raw, (section, key), value, COMMAND_LINE)
    else:
        raw.values[section, key], raw.sources[section, key] = value, COMMAND_LINE


def _with_names(classes: object, names: object) -> object:
    """Tables of classes with other names, if these are a list of texts; else what is given."""
    if not (isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)):
        return names
    tables = [c for c in classes if isinstance(c, dict)] if isinstance(classes, list) else []
    rest = []
    if len(names) == len(tables) - 1:
        rest = [table for table in tables if table.get("id") == 0]
        tables = [table for table in tables if table.get("id") != 0]
    if len(names) != len(tables):
        raise ConfigError(
            f"{amount(len(names), 'name', 'is', 'are')} given, but the config has {len(tables)} "
            "classes.",
            "Give one name for each class, or for each but the background.",
            f"{COMMAND_LINE}, [mask] classes",
        )
    return rest + [{**table, "name": name} for table, name in zip(tables, names, strict=True)]


def _override_value(text: str) -> object:
    """A literal, `true`/`false`, or the bare text: the shell has eaten the quotes."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _drop_empty_texts(raw: legacy.RawConfig) -> None:
    """A key that a file gives as "" has its default; the command line gives no empty values."""
    for (section, key), value in list(raw.values.items()):
        source = raw.sources[section, key]
        if not isinstance(value, str) or value.strip() or _from_shell(source):
            continue
        if _default_of(section, key) not in ("", PydanticUndefined):
            where = f"{source}, [{section}] {key}"
            raw.warn(Severity.NOTE, "empty-value", where, "It is empty, so its default is used.")
            del raw.values[section, key], raw.sources[section, key]


def _default_of(section: str, key: str) -> object:
    """The default of a key; PydanticUndefined of one that no section has."""
    models = [section_models().get(section)]
    if section == "model":
        models += map(NETWORKS.get, NETWORKS)
    fields = (model.model_fields.get(key) for model in models if model is not None)
    field = next(filter(None, fields), None)
    return field.get_default(call_default_factory=True) if field else PydanticUndefined


def section_models() -> dict[str, type[Section]]:
    """The sections of a config by name."""
    return {
        name: field.annotation
        for name, field in Experiment.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def _network_section(raw: legacy.RawConfig, search: Path | None) -> type[ModelConfig]:
    """The class of [model] for the network that a config names.

    Parameters
    ----------
    search : folder of the module of a user's own network; None: its code is not run.
    """
    name = raw.values.get(("model", "model"), ModelConfig.model_fields["model"].default)
    if not isinstance(name, str):
        return ModelConfig
    return NETWORKS.own_section_of(name, search) if search else NETWORKS.section_of(name)


def _note_foreign_options(raw: legacy.RawConfig, kind: type[ModelConfig]) -> None:
    """Say which keys of [model] only other networks have, and leave them out."""
    if kind is ModelConfig:
        return
    foreign = NETWORKS.option_names() - kind.model_fields.keys()
    for section, key in list(raw.values):
        if section != "model" or key not in foreign:
            continue
        name = str(raw.values.get(("model", "model"), kind.model_fields["model"].default))
        where = f"{raw.sources[section, key]}, [model] {key}"
        readers = NETWORKS.readers(key)
        what = f"Without effect: {reads(kind, name)}; {key} is an option of {_listed(readers)}."
        raw.warn(Severity.NOTE, "unread-key", where, what)
        del raw.values[section, key], raw.sources[section, key]


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def drop_unknown_keys(
    raw: legacy.RawConfig, sections: dict[str, type[Section]], path: Path, *, strict: bool
) -> None:
    """Take keys and sections that do not exist out of a config: warnings, or errors of `raw`."""
    homes = dict.fromkeys(NETWORKS.option_names(), "model")
    for name, model in sections.items():
        for key in model.model_fields:
            homes.setdefault(key, name)
    told: set[str] = set()
    for section, key in list(raw.values):
        if section in sections and _has_key(sections[section], key):
            continue
        source = raw.sources.pop((section, key))
        del raw.values[section, key]
        if section in told:
            continue
        where = _where(path, source, section, key)
        if section not in sections:
            told.add(section)
            near = difflib.get_close_matches(section, sections, n=1, cutoff=0.5)
            what = f"There is no section [{section}]."
            fix = f"Did you mean [{near[0]}]?" if near else f"Sections: {', '.join(sections)}."
        else:
            near = difflib.get_close_matches(key, sections[section].model_fields, n=1, cutoff=0.5)
            what = f"[{section}] has no key {key!r}."
            if key in homes:
                fix = f"The key belongs in [{homes[key]}]."
            elif near:
                fix = f"Did you mean {near[0]!r}?"
            else:
                fix = "Remove it, or look the name up with `flexseg schema`."
        if strict or _from_shell(source):
            raw.errors.append(ConfigError(what, fix, where))
        else:
            raw.warn(Severity.WARNING, "unknown-key", where, f"{what} It is ignored.", fix)


def _has_key(section: type[Section], key: str) -> bool:
    return key in section.model_fields or section.model_config["extra"] == "allow"


def _path_keys() -> set[tuple[str, str]]:
    networks = [("model", NETWORKS.get(name)) for name in NETWORKS]
    return {
        (name, key)
        for name, model in (*section_models().items(), *networks)
        for key, *_ in path_fields(model)
    }


def path_fields(model: type[Section]) -> Iterator[tuple[str, FieldInfo, PathRole]]:
    """The keys of a section that are paths, with their fields and roles."""
    for key, field in model.model_fields.items():
        for metadata in field.metadata:
            if isinstance(metadata, PathRole):
                yield key, field, metadata


def _absolute_paths(raw: legacy.RawConfig, sections: dict[str, type[Section]], path: Path) -> None:
    """Anchor input paths at the config file, and what the command line says at the shell."""
    for section, model in sections.items():
        for key, _, role in path_fields(model):
            value = raw.values.get((section, key))
            if not isinstance(value, str) or value in role.words:
                continue
            source = raw.sources[section, key]
            from_shell = _from_shell(source)
            try:
                place = place_of(value, _where(path, source, section, key))
            except ConfigError as error:
                raw.errors.append(error)
                del raw.values[section, key], raw.sources[section, key]
                continue
            if from_shell or role.kind == "input":
                place = real_path((Path.cwd() if from_shell else path.parent) / place)
                named(place)  # of a config that is a remote file itself
            raw.values[section, key] = place


def place_of(value: str, where: str) -> Path:
    """A path as written; of a URL the path that stands for it.

    Raises
    ------
    ConfigError : it is empty, or leads nowhere.
    """
    if not value:
        raise ConfigError(
            "The path is empty.", "Remove the key, or write '.' for the folder itself.", where
        )
    if (copy := named(value)) is not None:
        return copy
    if any(ord(letter) < 32 for letter in value):
        raise ConfigError(
            f"The path {value!r} contains a control character: in quoted text, a backslash and a "
            "letter mean one.",
            "Write the path with '/', or with '\\\\' for each backslash.",
            where,
        )
    try:
        return _portable(value)
    except (RuntimeError, OSError) as error:  # no such user, or a name too long
        raise ConfigError(
            f"The path {value[:100]!r} cannot be resolved ({error}).",
            "Write it out, without ~.",
            where,
        ) from None


def _from_shell(source: str) -> bool:
    return source.startswith(COMMAND_LINE)


def _portable(value: str) -> Path:
    # Configs are written on Windows and read on Linux, and the other way round.
    text = value.replace("\\", "/") if "\\" in value and not Path(value).exists() else value
    return Path(text).expanduser()


def resolve_outputs(experiment: Experiment, base: Path) -> Experiment:
    """Make output paths absolute: they are relative to `[train] run_dir`, and that to `base`."""
    run_dir = real_path(base / experiment.train.run_dir)
    sections: dict[str, Section] = {}
    for name, model in section_models().items():
        section: Section = getattr(experiment, name)
        changes = {
            key: real_path(run_dir / value)
            for key, _, role in path_fields(model)
            if role.kind == "output" and (value := getattr(section, key)) is not None
        }
        if name == "train":
            changes["run_dir"] = run_dir
        if changes:
            sections[name] = section.model_copy(update=changes)
    return experiment.model_copy(update=sections)


def relative_outputs(experiment: Experiment) -> Experiment:
    """With the outputs in `[train] run_dir` relative to it, as `resolve_outputs` takes them."""
    run_dir = experiment.train.run_dir
    sections: dict[str, Section] = {}
    for name, model in section_models().items():
        section: Section = getattr(experiment, name)
        changes = {
            key: value.relative_to(run_dir)
            for key, _, role in path_fields(model)
            if role.kind == "output"
            and (value := getattr(section, key)) is not None
            and value.is_relative_to(run_dir)
        }
        sections[name] = section.model_copy(update=changes)
    return experiment.model_copy(update=sections)


def output_folders(experiment: Experiment) -> dict[str, Path]:
    """The folders whose content moves aside when new results come."""
    train, infer, tiled = experiment.train, experiment.infer, experiment.tiledinfer
    folders = {
        "[train] model_dir": train.model_dir,
        "[train] eval_dir": train.eval_dir,
        "[train] epoch_change_infer_dir": train.epoch_change_infer_dir,
        "[train] epoch_change_tiled_infer_dir": train.epoch_change_tiled_infer_dir,
        "[infer] output_dir": infer.output_dir,
        "[infer] merged_dir": infer.merged_dir,
        "[infer] colorized_dir": infer.colorized_dir,
        "[tiledinfer] output_dir": tiled.output_dir,
        "[tiledinfer] merged_dir": tiled.merged_dir,
        "[tiledinfer] colorized_dir": tiled.colorized_dir,
        "[infer3d] output_dir": experiment.infer3d.output_dir,
        "[infer3d] video_dir": experiment.infer3d.video_dir,
        "[generator] generated_images_dir": experiment.generator.generated_images_dir,
        "[generator] generated_masks_dir": experiment.generator.generated_masks_dir,
    }
    return {key: folder for key, folder in folders.items() if folder is not None}


def input_paths(experiment: Experiment, config: Path) -> list[Path]:
    """Everything that is read."""
    paths = [config]
    for name in section_models():
        section: Section = getattr(experiment, name)
        for key, _, role in path_fields(type(section)):
            if role.kind == "input" and key != "run_dir":
                paths.append(getattr(section, key))
    return [path for path in paths if isinstance(path, Path)]


def validated(raw: legacy.RawConfig, model: type[ModelConfig], path: Path) -> Experiment | None:
    """The experiment; None if there are errors, all of which are then among those of `raw`."""
    try:
        # A network of the user's own is known from its code alone.
        experiment = Experiment.model_validate(
            {"model": {}} | raw.as_sections(), context={"model": model}
        )
    except ValidationError as error:
        for tried in _by_value(error.errors()):
            # What does not fit together may do so once single values are right.
            if tried[0]["loc"] or not raw.errors:
                raw.errors.append(explained(raw, tried, path))
        return None
    return None if raw.errors else experiment


def _by_value(errors: Iterable[ErrorDetails]) -> list[list[ErrorDetails]]:
    """What pydantic says, together for each value: of one that may be of several kinds it says why
    it is none of the first, none of the second, ..."""
    found: dict[tuple[str, ...], list[ErrorDetails]] = {}
    for error in errors:
        found.setdefault(tuple(_location(error)), []).append(error)
    return list(found.values())


def _location(error: ErrorDetails) -> list[str]:
    """Section, key and place in the value, without the kind that was tried."""
    parts = [str(part) for part in error["loc"]]
    return parts[:2] + [part for part in parts[2:] if not _KIND_TRIED.fullmatch(part)]


def _message(error: ErrorDetails) -> str:
    said = _EXPECTED.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
    return f"{said[0].lower()}{said[1:]}"


def explained(raw: legacy.RawConfig, tried: Sequence[ErrorDetails], path: Path) -> ConfigError:
    """What pydantic says of a value, in the words of all other errors."""
    error, location = tried[0], _location(tried[0])
    section = location[0] if location else ""
    key = location[1] if len(location) > 1 else ""
    source = raw.sources.get((section, key), "")
    given = "" if error["type"] == "value_error" else f"{error['input']!r} given: "
    first, *others = dict.fromkeys(map(_message, tried))
    alternatives = "".join(f", or {other.removeprefix('input should be ')}" for other in others)
    problem = f"{given}{first}{alternatives}."
    where = _where(path, source, section, ".".join(location[1:]))
    return ConfigError(problem, "Correct the value.", where)


def _where(path: Path, source: str, section: str, key: str) -> str:
    """The place of a value in a config; `source` is often the file itself."""
    place = f"[{section}] {key}".rstrip() if section else "config"
    return ", ".join(dict.fromkeys(part for part in (path.name, source, place) if part))


def _note_gaps(raw: legacy.RawConfig, experiment: Experiment) -> None:
    """Say what this version reads and does not do: nothing is ignored in silence."""
    given = {section for section, key in raw.values if raw.sources[section, key] != ORIGINAL}
    if augmenting := sorted(given & set(AUGMENTOR_SECTIONS)):
        reason = ""
        if experiment.augmentation.enabled:
            reason = "[augmentation] is enabled, which takes their place"
        elif not experiment.model.generator:
            reason = (
                "as in the originals, they augment only with [model] generator = true; "
                "[augmentation] enabled = true augments any training"
            )
        if reason:
            sections = f"[{'], ['.join(augmenting)}]"
            raw.warn(Severity.NOTE, "unused-augmentation", sections, f"Without effect: {reason}.")
    if experiment.augmentation.enabled and experiment.generator.debug:
        raw.warn(
            Severity.NOTE,
            "unused-augmentation",
            "[generator] debug",
            "Without effect: it writes the pairs of the sections that [augmentation] replaces; "
            "`flexseg augment --preview` draws what [augmentation] does.",
        )
    if "tiledinfer" in given and raw.file:
        raw.warn(
            Severity.NOTE,
            "tiledinfer-changes",
            "[tiledinfer]",
            "Windows of split_size pixels overlap by twice `overlapping`, are resized to the "
            "network only if their size differs, and their probabilities are averaged. The "
            "originals squeeze split_size + 2 x overlapping pixels into the network and paste its "
            "masks, with seams, and with gaps where split_size is not the network's size.",
            "Without split_size and overlapping a window is the network's size.",
        )
    if experiment.infer3d.slice_shape_order is not None and "infer3d" in given:
        raw.warn(
            Severity.NOTE,
            "infer3d-changes",
            "[infer3d]",
            "Slices, masks, overlays and videos are made as in the originals, except: there is "
            "also a label volume, in the input's geometry; overlay_alpha, beta and gamma and "
            "mask_overlay have an effect; every volume has its own video; probabilities are "
            "resized, not labels; nothing is deleted.",
            "slice_shape_order = None cuts slices along [volume] axis instead.",
        )
