"""The antillia syntax: what is read, what is refused, and that nothing is executed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexseg.config import LoadedConfig, Severity, load
from flexseg.config.legacy import literal
from flexseg.config.legacy_keys import ALIASES, DEAD_KEYS
from flexseg.dataset.labels import LabelMap
from flexseg.errors import ConfigError
from flexseg.files.images import MaskPixels

Write = Callable[[str], Path]
FLEX = '[model]\nmodel = "TensorFlowFlexUNet"\nnum_classes = 2\n'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes a config file and returns its path."""

    def write_config(text: str) -> Path:
        path = tmp_path / "train.config"
        path.write_text(text, encoding="utf-8")
        return path

    return write_config


def refusal(path: Path, *overrides: str) -> ConfigError:
    """The error that loading `path` raises."""
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    assert caught.value.exit_code == 2
    return caught.value


def codes(loaded: LoadedConfig) -> list[str]:
    return [finding.code for finding in loaded.findings]


PUBLISHED = {
    "covid-19": ("TensorFlowFlexUNet", 4, "ImageCategorizedMaskDataset", "RGB"),
    "lung-ct": ("TensorFlowFlexUNet", 2, "ImageCategorizedMaskDataset", "RGB"),
    "mri-brain-tumor-t2": ("TensorFlowFlexUNet", 2, "ImageCategorizedMaskDataset", "RGB"),
    "ovarian-tumor": ("TensorflowUNet", 1, "ImageMaskDataset", "BGR"),
    "spleen": ("TensorflowUNet", 1, "ImageMaskDataset", "BGR"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_config_is_understood_completely(shared: Path, name: str) -> None:
    loaded = load(shared / "configs" / f"{name}.config")
    experiment = loaded.experiment
    warned = [f.code for f in loaded.findings if f.severity is not Severity.NOTE]
    assert warned == []
    assert loaded.legacy
    found = (
        experiment.model.model,
        experiment.model.num_classes,
        experiment.dataset.class_name,
        experiment.image.color_order,
    )
    assert found == PUBLISHED[name]
    assert experiment.train.images_dir is not None
    assert experiment.train.images_dir.is_absolute()
    assert experiment.valid.masks_dir is not None
    assert experiment.infer.images_dir is not None


def test_published_values_arrive(shared: Path) -> None:
    experiment = load(shared / "configs" / "covid-19.config").experiment
    model, train = experiment.model, experiment.train
    assert (model.base_filters, model.base_kernels, model.num_layers) == (16, (9, 9), 8)
    assert (model.dropout_rate, model.learning_rate, model.clipvalue) == (0.04, 0.00007, 0.4)
    assert (train.batch_size, train.reducer_factor, train.reducer_patience) == (2, 0.4, 4)
    assert {c.id: c.color for c in experiment.mask.classes} == {
        0: (0, 0, 0),
        1: (0, 255, 0),
        2: (0, 0, 255),
        3: (255, 0, 0),
    }


SAMPLES: dict[tuple[str, str], tuple[str, Any]] = {
    ("dataset", "class_name"): ('"BaseImageMaskDataset"', "BaseImageMaskDataset"),
    ("image", "color_order"): ('"bgr"', "BGR"),
    ("model", "input_normalize"): ("False", False),
    ("train", "epoch_change_infer"): ("False", False),
    ("train", "epoch_change_tiled_infer"): ("True", True),
    ("train", "num_infer_images"): ("3", 3),
    ("train", "best_model_file"): ('"best.h5"', "best.h5"),
    ("deformation", "alpha"): ("900", 900),
    ("deformation", "sigmoids"): ("6", [6.0]),
    ("model", "activation"): ('"mish"', "mish"),
    ("model", "dilation"): ("(2,2)", (2, 2)),
}


@pytest.mark.parametrize("alias", ALIASES, ids=".".join)
def test_alias_is_read_into_its_home(write: Write, tmp_path: Path, alias: tuple[str, str]) -> None:
    """Every older spelling sets the key that it stands for, and the source names it."""
    section, key = ALIASES[alias]
    text, expected = SAMPLES.get((section, key), ('"./folder"', tmp_path / "folder"))
    if alias[0] == "model":
        path = write(f"{FLEX}{alias[1]} = {text}\n")
    else:
        path = write(f"{FLEX}[{alias[0]}]\n{alias[1]} = {text}\n")
    loaded = load(path)
    assert getattr(getattr(loaded.experiment, section), key) == expected
    assert loaded.source(section, key).endswith(f" as [{alias[0]}] {alias[1]}")
    assert "unknown-key" not in codes(loaded)


@pytest.mark.parametrize(
    ("alias", "home"),
    [
        (("dataset", "datasetclass"), ("dataset", "class_name")),
        (("train", "image_datapath"), ("train", "images_dir")),
        (("train", "mask_datapath"), ("train", "masks_dir")),
        (("test", "image_datapath"), ("test", "images_dir")),
        (("test", "mask_datapath"), ("test", "masks_dir")),
        (("eval", "image_datapath"), ("valid", "images_dir")),
        (("eval", "mask_datapath"), ("valid", "masks_dir")),
        (("train", "epoch_change_tiledinfer"), ("train", "epoch_change_tiled_infer")),
        (("train", "epoch_change_tiledinfer_dir"), ("train", "epoch_change_tiled_infer_dir")),
        (("train", "epoch_changeinfer"), ("train", "epoch_change_infer")),
        (("dataset", "color_order"), ("image", "color_order")),
        (("deformation", "alpah"), ("deformation", "alpha")),
        (("deformation", "sigmoid"), ("deformation", "sigmoids")),
        (("train", "save_model_file"), ("train", "best_model_file")),
        (("model", "epoch_change_infer"), ("train", "epoch_change_infer")),
        (("model", "num_infer_images"), ("train", "num_infer_images")),
    ],
)
def test_aliases_of_the_originals_are_listed(alias: tuple[str, str], home: tuple[str, str]) -> None:
    assert ALIASES[alias] == home


def test_an_empty_text_is_the_default_and_noted(write: Write, tmp_path: Path) -> None:
    """`save_model_file = ""` stands in published configs; the originals never read it."""
    text = '[train]\nsave_model_file = ""\nmodel_dir = " "\nreducer_factor = 0.5\n[infer]\n'
    text += 'merged_dir = ""\n[dataset]\ndatasetclass = ""\n'
    loaded = load(write(text))
    train = loaded.experiment.train
    assert (train.best_model_file, train.model_dir) == ("best_model.h5", tmp_path / "models")
    assert loaded.experiment.infer.merged_dir is None
    assert loaded.experiment.dataset.class_name == "ImageMaskDataset"
    assert codes(loaded).count("empty-value") == 4
    assert "line 2" in next(f.where for f in loaded.findings if f.code == "empty-value")


def test_an_empty_text_from_the_shell_is_an_error(write: Write) -> None:
    """A variable that is not set must not move results."""
    assert "empty" in refusal(write(""), "train.run_dir=").problem


@pytest.mark.parametrize("order", ["[valid]\n{v}\n[eval]\n{e}", "[eval]\n{e}\n[valid]\n{v}"])
def test_valid_wins_over_eval(write: Write, tmp_path: Path, order: str) -> None:
    text = order.format(v='images_dir = "mine"', e='image_datapath = "other"')
    loaded = load(write(text))
    assert loaded.experiment.valid.images_dir == tmp_path / "mine"
    assert "alias-twice" in codes(loaded)


def test_misspelt_truth_value_names_line_and_proposal(write: Write) -> None:
    """The published Augmented-Hippocampus config: the originals silently take False."""
    error = refusal(write(f"{FLEX}\n[augmentor]\nvflip = True\ndistortion = Truw\n"))
    assert error.where is not None
    assert "train.config, line 7" in error.where
    assert "distortion" in error.where
    assert "'Truw'" in error.problem
    assert error.fix == "Did you mean True?"


def test_missing_comma_in_a_list_is_an_error(write: Write) -> None:
    """The same config's angles; the originals silently take their default."""
    error = refusal(write("[augmentor]\nangles = [90. 180, 270,]\n"))
    assert "line 2" in str(error.where)
    assert "comma" in error.fix


def test_trailing_semicolon_comment_is_an_error(write: Write) -> None:
    error = refusal(write("[train]\nepochs = 20 ; enough\n"))
    assert "line 2" in str(error.where)
    assert "';' comment" in error.fix


def test_trailing_hash_comment_is_none_of_the_value(write: Write) -> None:
    assert load(write("[train]\nepochs = 20  # enough\n")).experiment.train.epochs == 20


def test_unquoted_opencv_name_is_an_error_that_quotes_it(write: Write) -> None:
    error = refusal(write("[dataset]\nresize_interpolation = cv2.INTER_CUBIC\n"))
    assert error.fix == 'Text needs quotes: "cv2.INTER_CUBIC".'


def test_all_faults_are_told_at_once(write: Write) -> None:
    """Of every kind: duplicates, lines that are nothing, values, ranges, paths, colours."""
    text = (
        FLEX + "num_layers = 0\n"
        "[train]\nepochs = 1\nepochs = 2\nbatch size\nimages_dir = 'a\\tb'\npatience = ten\n"
        "[augmentor]\nhflip = Truw\n[train]\nseed = -1\nmodel_dir = '50%'\n"
        "[mask]\nrgb_map = {1: 2}\n"
    )
    error = refusal(write(text), "train.nothing=1", "train.minutes=-1")
    told = str(error)
    for fault in (
        "'epochs' occurs twice", "[train] occurs twice", "'batch size\\n'", "control character",
        "'ten' is not a Python literal", "Did you mean True?", "'%'", "rgb_map is {1: 2}",
        "has no key 'nothing'", "[train] minutes", "[train] seed", "[model] num_layers",
    ):  # fmt: skip
        assert fault in told, fault
    assert "11 more faults" in error.fix


@pytest.mark.parametrize("names", [["background", "left", "right"], ["left", "right"]])
@pytest.mark.parametrize("shell", [True, False])
def test_classes_of_old_configs_have_names(write: Write, names: list[str], shell: bool) -> None:
    text = '[model]\nmodel = "TensorFlowFlexUNet"\nnum_classes = 3\n[mask]\n'
    text += "rgb_map = {(0,0,0): 0, (0,255,0): 1, (255,0,0): 2}\n"
    path = write(text if shell else f"{text}classes = {names}\n")
    loaded = load(path, [f"mask.classes={names}"] if shell else [])
    assert [c.name for c in loaded.experiment.mask.classes][1:] == ["left", "right"]
    assert load(path, [f"mask.classes={names[:1] * 5}"]).findings[-1].code == "class-names"


def test_classes_of_toml_get_names_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[[mask.classes]]\nid = 0\ncolor = '#000000'\n"
                    "[[mask.classes]]\nid = 1\ncolor = '#00ff00'\n")  # fmt: skip
    classes = load(path, ["mask.classes=['lesion']"]).experiment.mask.classes
    assert [(c.id, c.name) for c in classes] == [(0, ""), (1, "lesion")]
    assert "3 names" in refusal(path, "mask.classes=['a', 'b', 'c']").problem


def test_what_follows_from_a_fault_is_not_told(write: Write) -> None:
    """With its default of one class, the map would not fit."""
    text = '[model]\nmodel = "TensorFlowFlexUNet"\nnum_classes = four\n'
    error = refusal(write(text + "[mask]\nrgb_map = {(0,0,0): 0, (9,9,9): 1, (0,9,9): 3}\n"))
    assert "'four'" in error.problem
    assert "more fault" not in error.fix


def test_more_classes_than_colors_train_as_in_the_originals(write: Write) -> None:
    text = '[model]\nmodel = "TensorFlowFlexUNet"\nnum_classes = 5\n[mask]\n'
    text += "rgb_map = {(0,0,0): 0, (0,255,0): 1, (255,0,0): 2}\n"
    loaded = load(write(text))
    (warning,) = (f for f in loaded.findings if f.severity is Severity.WARNING)
    assert "line 3" in warning.where
    assert "[3, 4]" in warning.what
    assert "num_classes = 3" in warning.fix
    labels = LabelMap.from_config(loaded.experiment.class_sections)
    assert labels.channels == 5
    # Whatever a mask holds, also the very colours of the two, takes one of the three.
    colors = np.array([[c.colors[0] for c in labels.classes]], np.uint8)
    assert set(labels.encode(MaskPixels(colors, None, False, False, "RGB")).labels[0].tolist()) <= {
        0,
        1,
        2,
    }
    assert LabelMap.from_dict(labels.as_dict()) == labels


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("[train]\nepochs = 1\nepochs = 2\n", 3, "'epochs' occurs twice in [train]"),
        ("[train]\nepochs = 1\n[test]\n[train]\n", 4, "[train] occurs twice"),
        ("epochs = 1\n", 1, "before any [section]"),
        ("[train]\nepochs = 1\nbatch size\n", 3, "neither a [section], a key = value"),
        ("; old\n[\n[model]\nepochs = 1\n", 2, "'[' comes before any [section]"),
        ("[train]\nmodel_dir = '50%'\n", 2, "'%'"),
        ("[train]\nepochs =\n", 2, "not a Python literal"),
    ],
)
def test_broken_file_is_an_error_with_its_line(
    write: Write, text: str, line: int, problem: str
) -> None:
    error = refusal(write(text))
    assert problem in error.problem
    assert f"line {line}" in str(error.where)


@pytest.mark.parametrize(
    "value",
    [
        '__import__("os").system("touch {file}")',
        'open("{file}", "w")',
        '[x for x in [open("{file}", "w")]]',
        '(lambda: open("{file}", "w"))()',
        "f\"{{open('{file}', 'w')}}\"",
        "exit()",
    ],
)
def test_a_value_is_never_executed(
    write: Write, tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "touched"
    error = refusal(write(f"[train]\nepochs = {value.format(file=file)}\n"))
    assert "not a Python literal" in error.problem
    refusal(write(FLEX), f"train.epochs={value.format(file=file)}")
    assert not file.exists()


@settings(max_examples=30, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.tuples(inner, inner),
        max_leaves=8,
    )
)
def test_literal_reads_what_repr_writes(value: Any) -> None:
    assert literal(repr(value), "here") == value


def test_values_may_span_lines(write: Write) -> None:
    text = FLEX + "[mask]\nrgb_map = {(0,0,0): 0,\n    (9,9,9): 1,\n  }\n"
    assert [c.color for c in load(write(text)).experiment.mask.classes] == [(0, 0, 0), (9, 9, 9)]


def test_rgb_map_values_are_the_class_ids(write: Write) -> None:
    """The originals take the position in the map: red would be 1."""
    text = (
        '[model]\nmodel = "TensorFlowFlexUNet"\nnum_classes = 3\n'
        "[mask]\nrgb_map = {(0,0,0): 0, (255,0,0): 2, (0,255,0): 1, (9,9,9): 2}\n"
    )
    loaded = load(write(text))
    found = {c.id: (c.color, c.more_colors) for c in loaded.experiment.mask.classes}
    assert found == {0: ((0, 0, 0), []), 1: ((0, 255, 0), []), 2: ((255, 0, 0), [(9, 9, 9)])}
    assert "rgb-map-order" in codes(loaded)
    assert loaded.source("mask", "classes") == "line 5 as [mask] rgb_map"


def test_ascending_rgb_map_gives_no_note(write: Write) -> None:
    loaded = load(write(FLEX + "[mask]\nrgb_map = {(0,0,0): 0, (255,0,0): 1}\n"))
    assert codes(loaded) == []


@pytest.mark.parametrize(
    "entry",
    [
        "rgb_map = [(0,0,0), (255,0,0)]",
        "rgb_map = {(0,0,0): [1]}",
        "rgb_map = {0: 0, 255: 1}",
        "mask_colors = [3]",
        "mask_colors = 7",
    ],
)
def test_color_map_of_another_form_is_an_error_with_its_line(write: Write, entry: str) -> None:
    error = refusal(write(f"[model]\nnum_classes = 1\n[mask]\n{entry}\n"))
    assert "train.config, line 4" in str(error.where)
    assert "expected" in error.problem


@pytest.mark.parametrize(
    "entry",
    [
        '[train]\npatience = "ten"',
        '[dataset]\nclass_name = "NormalizedImageMaskDataset"\n[mask]\nnormalized_threshold = "ten"',
        f'{FLEX}[image]\ncolor_order = ["ten"]',
        '[dataset]\nresize_interpolation = ["ten"]',
        '[model]\nmodel = ["ten"]',
        '[mask]\nbinarize = True\nalgorithm = ["ten"]',
    ],
)
def test_wrong_type_of_a_value_that_is_translated_is_an_error(write: Write, entry: str) -> None:
    error = refusal(write(f"{entry}\n"))
    assert f"line {entry.count(chr(10)) + 1}" in str(error.where)
    assert "ten" in error.problem


def test_normalized_masks_keep_their_threshold(write: Write) -> None:
    """That class of the originals compares the mask, divided by 255, with a share."""
    text = '[dataset]\ndatasetclass = "NormalizedImageMaskDataset"\n'
    mask = load(write(text + "[mask]\nnormalized_threshold = 0.4\n")).experiment.mask
    assert mask.threshold == 102
    assert load(write(text)).experiment.mask.threshold == 0.15 * 255
    assert load(write("")).experiment.mask.threshold is None


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ("binarize = True\nthreshold = 90\n", (90, None)),
        ("binarize = False\nthreshold = 90\n", (None, None)),
        ("threshold = 90\n", (None, None)),
        ('binarize = True\nalgorithm = "cv2.THRESH_OTSU"\n', (None, "otsu")),
        ('binarize = True\nalgorithm = "cv2.THRESH_TRIANGLE"\n', (None, "triangle")),
        ('binarize = True\nthreshold = 60\nalgorithm = "cv2.THRESH_BINARY"\n', (60, None)),
        ("binarize = True\nalgorithm = None\n", (None, None)),
    ],
)
def test_binarize_switches_threshold_and_algorithm_on(
    write: Write, entries: str, expected: tuple[float | None, str | None]
) -> None:
    loaded = load(write(f"[mask]\n{entries}"))
    mask = loaded.experiment.mask
    assert (mask.threshold, mask.algorithm) == expected
    assert codes(loaded) == ([] if "True" in entries else ["no-binarize"])


def test_unknown_threshold_algorithm_is_a_warning(write: Write) -> None:
    loaded = load(write('[mask]\nbinarize = True\nalgorithm = "cv2.THRESH_OTTO"\n'))
    assert codes(loaded) == ["threshold-algorithm"]
    assert "line 3" in loaded.findings[0].where


def test_images_are_divided_by_255_once(write: Write) -> None:
    loaded = load(write(FLEX + "[dataset]\nimage_normalize = True\n"))
    assert loaded.experiment.model.input_normalize is True
    assert codes(loaded) == []
    both = load(write(FLEX + "input_normalize = True\n[dataset]\nimage_normalize = True\n"))
    assert both.experiment.model.input_normalize is True
    assert codes(both) == ["normalized-twice"]
    none = load(write(FLEX + "input_normalize = False\n[dataset]\nimage_normalize = False\n"))
    assert none.experiment.model.input_normalize is False


@pytest.mark.parametrize(
    ("model", "scale"),
    [
        ("TensorFlowFlexAttentionUNet", False),
        ("TensorflowSwinUNet", False),
        ("TensorFlowFlexMultiResUNet", True),
        ("TensorflowEfficientNetB7UNet", False),
        ("AttentionUNet", False),
    ],
)
def test_only_the_unet_reads_input_normalize(write: Write, model: str, scale: bool) -> None:
    text = f'[model]\nmodel = "{model}"\nnum_classes = 2\n'
    assert load(write(text)).experiment.model.input_normalize is scale
    same = load(write(text + f"input_normalize = {scale}\n"))
    assert same.experiment.model.input_normalize is scale and codes(same) == []
    other = load(write(text + f"input_normalize = {not scale}\n"))
    assert other.experiment.model.input_normalize is scale
    assert codes(other) == ["input-normalize"] and "line 4" in other.findings[0].where
    chosen = load(write(text), ["model.input_normalize=standardize"])
    assert chosen.experiment.model.input_normalize == "standardize" and codes(chosen) == []


@pytest.mark.parametrize("network", ["MultiResUNet", "EfficientUNet", "EfficientNetB7UNet"])
def test_networks_that_scale_by_themselves_scale_once(write: Write, network: str) -> None:
    text = f'[model]\nmodel = "TensorFlowFlex{network}"\nnum_classes = 3\n'
    loaded = load(write(text + "[dataset]\nimage_normalize = True\n"))
    assert codes(loaded) == ["normalized-twice"] and "line 5" in loaded.findings[0].where
    assert loaded.experiment.model == load(write(text)).experiment.model


@pytest.mark.parametrize("name", ["TensorFlowUNet", "tensorflowattentionunet", "TENSORFLOWUNET"])
def test_the_family_does_not_depend_on_letter_case(write: Write, name: str) -> None:
    model = load(write(f'[model]\nmodel = "{name}"\n')).experiment.model
    assert (model.num_classes, model.loss) == (1, "bce_dice_loss")


def test_a_network_that_the_originals_lack_scales_as_in_new_configs(write: Write) -> None:
    loaded = load(write('[model]\nmodel = "ResEncUNet"\nnum_classes = 2\n'))
    assert loaded.experiment.model.input_normalize == "auto"


def test_defaults_of_single_networks(write: Write) -> None:
    attention = load(write('[model]\nmodel = "TensorFlowFlexAttentionUNet"\nnum_classes = 2\n'))
    assert attention.experiment.model.dropout_rate == 0.1
    u2net = load(write('[model]\nmodel = "TensorFlowFlexU2Net"\nnum_classes = 2\n'))
    assert u2net.experiment.model.multiclass_activation == "sigmoid"
    assert "dropout_rate" not in type(u2net.experiment.model).model_fields
    unet = load(write(FLEX)).experiment.model
    assert (unet.dropout_rate, unet.multiclass_activation) == (0, "softmax")


@pytest.mark.parametrize(("pool", "unpool"), [(True, True), (False, False), ("ave", True)])
def test_transunet_reads_unpool_from_pool(write: Write, pool: Any, unpool: Any) -> None:
    text = f'[model]\nmodel = "TensorFlowFlexTransUNet"\nnum_classes = 2\npool = {pool!r}\n'
    model = load(write(text)).experiment.model
    assert (model.pool, model.unpool) == (pool, unpool)
    assert load(write(text + "unpool = False\n")).experiment.model.unpool is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            FLEX,
            {
                "model.input_normalize": True,
                "model.loss": "categorical_crossentropy",
                "dataset.resize_interpolation": "bilinear",
                "mask.unknown_colors": "nearest",
                "image.color_order": "RGB",
                "train.reducer_factor": 0.4,
                "train.reducer_patience": 4,
                "train.epoch_change_infer": True,
                "tiledinfer.overlapping": None,
            },
        ),
        (
            '[model]\nmodel = "TensorflowUNet"\nnum_classes = 1\n[train]\npatience = 8\n',
            {
                "model.input_normalize": True,
                "model.loss": "bce_dice_loss",
                "dataset.class_name": "ImageMaskDataset",
                "dataset.resize_interpolation": "nearest",
                "image.color_order": "BGR",
                "train.reducer_factor": 0.1,
                "train.reducer_patience": 4,
                "train.epoch_change_infer": False,
                "tiledinfer.overlapping": None,
            },
        ),
    ],
    ids=["multiclass", "single-class"],
)
def test_defaults_are_those_of_the_family(
    write: Write, text: str, expected: dict[str, Any]
) -> None:
    loaded = load(write(text))
    found = {
        name: getattr(getattr(loaded.experiment, name.split(".")[0]), name.split(".")[1])
        for name in expected
    }
    assert found == expected
    assert loaded.source("model", "loss") == "default of the originals"


def test_family_default_does_not_replace_a_given_value(write: Write) -> None:
    loaded = load(write(FLEX + 'loss = "focal_loss"\n'))
    assert loaded.experiment.model.loss == "focal_loss"
    assert loaded.source("model", "loss") == "line 4"


def test_default_map_of_the_originals_has_four_classes(write: Write) -> None:
    text = '[model]\nmodel = "TensorFlowFlexUNet"\nnum_classes = 4\n'
    colors = [c.color for c in load(write(text)).experiment.mask.classes]
    assert colors == [(0, 0, 0), (0, 255, 0), (255, 0, 0), (0, 0, 255)]
    assert load(write(FLEX)).experiment.mask.classes == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [("INTER_CUBIC", "cubic"), ("cv2.INTER_LANCZOS4", "lanczos"), ("cv2.INTER_AREA", "area")],
)
def test_opencv_interpolations_are_translated(write: Write, name: str, expected: str) -> None:
    loaded = load(write(f'[dataset]\nresize_interpolation = "{name}"\n'))
    assert loaded.experiment.dataset.resize_interpolation == expected


SINGLE = '[model]\nmodel = "TensorflowUNet"\nnum_classes = 1\n[dataset]\ndatasetclass = "{}"\n'


@pytest.mark.parametrize(
    ("text", "given", "expected", "noted"),
    [
        (SINGLE.format("BaseImageMaskDataset"), "", "scikit-image", False),
        (SINGLE.format("BaseImageMaskDataset"), "cv2.INTER_CUBIC", "scikit-image", True),
        (SINGLE.format("NormalizedImageMaskDataset"), "cv2.INTER_NEAREST", "bilinear", True),
        (SINGLE.format("ImageMaskDataset"), "cv2.INTER_CUBIC", "cubic", False),
        (SINGLE.format("RGB2GrayscaleImageMaskDataset"), "cv2.INTER_AREA", "area", False),
        (FLEX + "[dataset]\n", "cv2.INTER_CUBIC", "bilinear", True),
        (FLEX + "[dataset]\n", "cv2.INTER_LINEAR", "bilinear", False),
    ],
)
def test_images_are_resized_as_the_dataset_class_does(
    write: Write, text: str, given: str, expected: str, noted: bool
) -> None:
    key = f'resize_interpolation = "{given}"\n' if given else ""
    loaded = load(write(text + key))
    assert loaded.experiment.dataset.resize_interpolation == expected
    assert ("resize-interpolation" in codes(loaded)) == noted


def test_the_command_line_chooses_how_images_are_resized(write: Write) -> None:
    path = write(SINGLE.format("BaseImageMaskDataset"))
    dataset = load(path, ["dataset.resize_interpolation=area"]).experiment.dataset
    assert dataset.resize_interpolation == "area"


def test_unread_color_order_gives_a_warning_and_the_order_of_training(write: Write) -> None:
    text = (
        '[model]\nnum_classes = 1\n[dataset]\ndatasetclass = "ImageMaskDataset"\n'
        'color_order = "rgb"\n'
    )
    loaded = load(write(text))
    assert loaded.experiment.image.color_order == "BGR"
    assert codes(loaded) == ["color-order"]


def test_switches_without_effect_are_listed() -> None:
    """Facts of original-systems.md: these keys must not be refused, and not be obeyed."""
    expected = {
        ("mask", "blur"),
        ("mask", "blur_size"),
        ("train", "create_backup"),
        ("train", "create_backups"),
        ("train", "save_weights_only"),
        ("train", "save_waits_only"),
        ("model", "base_dilation"),
        ("eval", "output_dir"),
        ("dataset", "sharpening"),
    }
    assert expected <= set(DEAD_KEYS)


def test_mask_blur_is_refused_with_a_note(write: Write) -> None:
    loaded = load(write("[mask]\nblur = True\nblur_size = (3,3)\n"))
    assert codes(loaded) == ["dead-key", "dead-key"]
    assert "dilates the ground truth" in loaded.findings[0].what


@pytest.mark.parametrize("key", DEAD_KEYS, ids=".".join)
def test_dead_key_gives_a_note_and_no_value(write: Write, key: tuple[str, str]) -> None:
    loaded = load(write(f"[{key[0]}]\n{key[1]} = 5\n"))
    notes = [f for f in loaded.findings if f.code == "dead-key"]
    assert [f.severity for f in notes] == [Severity.NOTE]
    assert "line 2" in notes[0].where
    assert ".".join(key) not in loaded.sources


@pytest.mark.parametrize("section", ["datasetclass", "transformer", "preprocessor", "debug"])
def test_dead_section_is_not_even_parsed(write: Write, section: str) -> None:
    loaded = load(write(f"[{section}]\nanything = not a literal\n"))
    assert codes(loaded) == ["dead-section"]


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("[train]\nepoch = 5\n", "[train] has no key 'epoch'", "Did you mean 'epochs'?"),
        ("[trian]\nepochs = 5\n", "no section [trian]", "Did you mean [train]?"),
        (
            "[train]\nlearning_rate = 0.1\n",
            "[train] has no key 'learning_rate'",
            "The key belongs in [model].",
        ),
        ("[test]\nqqqqqqqq = 5\n", "[test] has no key 'qqqqqqqq'", "Remove it"),
    ],
)
def test_unknown_key_is_a_warning_and_with_strict_an_error(
    write: Write, text: str, what: str, fix: str
) -> None:
    path = write(text)
    loaded = load(path)
    warning = next(f for f in loaded.findings if f.code == "unknown-key")
    assert warning.severity is Severity.WARNING
    assert what in warning.what
    assert warning.fix.startswith(fix)
    assert "line 2" in warning.where
    with pytest.raises(ConfigError) as caught:
        load(path, strict=True)
    assert what in caught.value.problem
    assert caught.value.fix.startswith(fix)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('[tiledinfer]\nimages_dir = "x"\n', "tiledinfer-changes"),
        ('[infer3d]\nimages_dir = "x"\n', "infer3d-changes"),
    ],
)
def test_what_this_version_does_otherwise_is_said(write: Write, text: str, code: str) -> None:
    assert codes(load(write(text))) == [code]


def test_strict_refuses_every_warning(write: Write) -> None:
    text = '[model]\nmodel = "TensorflowUNet"\n[image]\ncolor_order = "RGB"\n'
    (finding,) = [f for f in load(write(text)).findings if f.severity is Severity.WARNING]
    assert finding.code == "color-order"
    with pytest.raises(ConfigError, match="whatever this key says"):
        load(write(text), strict=True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[augmentor]\nhflip = True\n", "only with [model] generator"),
        (
            "[model]\ngenerator = True\n[augmentor]\nhflip = True\n"
            "[augmentation]\nenabled = True\n",
            "takes their place",
        ),
        ("[model]\ngenerator = True\n[augmentor]\nhflip = True\n", ""),
    ],
)
def test_augmentor_sections_without_effect_are_named(write: Write, text: str, reason: str) -> None:
    found = [f for f in load(write(text)).findings if f.code == "unused-augmentation"]
    assert len(found) == bool(reason)
    assert all(reason in f.what and f.where == "[augmentor]" for f in found)


def test_writing_of_pairs_without_effect_is_named(write: Write) -> None:
    text = "[model]\ngenerator = True\n[generator]\ndebug = True\n"
    for more, count in (("", 0), ("[augmentation]\nenabled = True\n", 1)):
        found = [f for f in load(write(text + more)).findings if f.code == "unused-augmentation"]
        assert [f.where for f in found] == ["[generator] debug"] * count


def test_pairs_made_on_the_device_cannot_be_written(write: Write) -> None:
    text = (
        "[model]\ngenerator = True\n[generator]\ndebug = True\n"
        '[augmentation]\naugment_on = "device"\n'
    )
    with pytest.raises(ConfigError, match="debug"):
        load(write(text))


def test_windows_paths_are_read_everywhere_without_python_warnings(
    write: Write, tmp_path: Path
) -> None:
    text = (
        '[train]\nimages_dir = ".\\data\\images"\nmasks_dir = "data\\\\masks"\n'
        'model_dir = ".\\models"\n'
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train = load(write(text)).experiment.train
    assert train.images_dir == tmp_path / "data" / "images"
    assert train.masks_dir == tmp_path / "data" / "masks"
    assert train.model_dir == tmp_path / "models"


def test_backslash_that_made_a_control_character_is_an_error(write: Write) -> None:
    """`.\\test` in quoted text is a dot, a tab and `est`: the originals look for that."""
    error = refusal(write('[test]\nimages_dir = ".\\test\\images"\n'))
    assert "control character" in error.problem
    assert "train.config, line 2, [test] images_dir" in str(error.where)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "cp932"], ids=["utf-8", "with-bom", "japanese"]
)
def test_encodings_of_old_files(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.config"
    path.write_bytes('; 腫瘍\n[train]\nmodel_dir = "モデル"\n'.encode(encoding))
    assert load(path).experiment.train.model_dir == tmp_path / "モデル"


def test_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.config"
    path.write_bytes(b"\x89HDF\r\n\xff\xfe\x00\x81")
    assert "UTF-8" in refusal(path).problem
