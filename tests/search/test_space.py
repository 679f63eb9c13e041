"""The space of a search: what may vary, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from search_project import CONFIG, job_of

from flexseg.config import load
from flexseg.errors import ConfigError
from flexseg.search.space import default_space, metric_of, parameters_of

pytest.importorskip("optuna", reason="the extra tune is not installed")


def space_of(
    project: Path, *lines: str, config: str = CONFIG, overrides: Sequence[str] = ()
) -> Any:
    text = config + "[tune.space]\n" + "\n".join(lines) + "\n"
    (project / "a.toml").write_text(text, encoding="utf-8")
    loaded = load(project / "a.toml", overrides)
    return parameters_of(
        loaded,
        overrides,
        metric_of(loaded.experiment.tune.metric, loaded.experiment.model.metrics)[0],
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("model.learning_rat = [0.1, 0.2]", "Did you mean 'model.learning_rate'"),
        ("nonsense.key = [1, 2]", "There is no key 'nonsense.key'"),
        ("train.images_dir = ['a', 'b']", "cannot be tuned: it does not change how"),
        ("train.seed = [1, 2]", "cannot be tuned"),
        ("model.image_width = [48, 64]", "different sizes cannot be compared"),
        ("mask.threshold = [1, 2]", "cannot be tuned"),
        ("model.learning_rate = [0.1, -0.2]", "model.learning_rate = -0.2 is refused"),
        ("model.learning_rate = { low = 0.0, high = 0.1 }", "model.learning_rate = 0 is refused"),
        ("model.base_filters = { low = 4, high = 8.5 }", "takes integers"),
        ("model.base_filters = { low = 3, high = 9, step = 2 }", "misses"),
        ("train.batch_size = ['auto', 0]", "train.batch_size = 0 is refused"),
        ("model.loss = { low = 1, high = 2 }", "is not a number and so in no range"),
        ("model.base_filters = [4, 4]", "All values of model.base_filters are the same"),
        ("model.stage_norm = ['batch', 'instance']", "TensorFlowFlexUNet does not have it"),
        ("augmentation.rotation = { low = 0, high = 0.5 }", "enabled is false"),
        ("augmentor.hflip = [true, false]", "has no effect here"),
        ("model.dropout_rate = { low = 0.0, high = 0.9 }", "is refused"),
    ],
)
def test_a_wrong_space_is_an_error_that_names_the_key(
    project: Path, line: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        space_of(project, line)
    assert message in str(caught.value)


def test_values_are_what_the_config_understands_and_hold_its_own(project: Path) -> None:
    filters, kernels, rate, levels, enabled, angle = space_of(
        project,
        "model.base_filters = [8, 16]",
        "model.base_kernels = [5, [3, 3]]",
        "model.learning_rate = { low = 0.02, high = 0.1, log = true }",
        "model.num_layers = { low = 2, high = 4 }",
        "augmentation.enabled = [true, false]",
        "augmentation.rotation_degrees = [[-10, 10], [-180, 180]]",
    )
    assert filters.values == (4, 8, 16) and kernels.values == ([5, 5], [3, 3])
    assert (rate.low, rate.high, rate.start) == (0.01, 0.1, 0.01) and not rate.is_integer
    assert levels.is_integer and levels.count == 3 and levels.value(3) == 3
    assert enabled.values == (True, False)
    for parameter in (filters, kernels, enabled, angle):
        for value in parameter.values:
            assert parameter.value(parameter.stored(value)) == value
    assert str(rate) == "0.01 to 0.1, logarithmic"


def test_listed_values_reach_the_trial_whatever_their_type(project: Path) -> None:
    parameters = space_of(
        project,
        "model.loss = ['dice_ce_loss', 'dice_loss']",
        "train.batch_size = ['auto', 2]",
        "model.input_normalize = ['auto', true]",
        "model.base_kernels = [[3, 3], [5, 5]]",
    )
    job = job_of(project)
    values = {p.name: p.values[-1] for p in parameters}
    one = job.load(values, project / "x", 1).experiment
    assert (one.model.loss, one.train.batch_size) == ("dice_loss", 2)
    assert (one.model.input_normalize, one.model.base_kernels) == (True, (5, 5))


def test_scores_of_different_losses_need_a_metric_of_their_own(project: Path) -> None:
    loss = "model.loss = ['dice_ce_loss', 'dice_loss']"
    assert space_of(project, loss)
    with pytest.raises(ConfigError, match="val_loss cannot be compared"):
        space_of(project, loss, overrides=["tune.metric=val_loss"])


@pytest.mark.parametrize(
    ("metrics", "metric", "expected"),
    [
        (["dice_coef"], "auto", ("val_dice_coef", True)),
        (["dice_coef", "iou_coef"], "iou_coef", ("val_iou_coef", True)),
        (["dice_coef"], "val_loss", ("val_loss", False)),
        (["categorical_crossentropy"], "auto", ("val_categorical_crossentropy", False)),
        (["dice_loss"], "val_dice_loss", ("val_dice_loss", False)),
        ([], "auto", ("val_loss", False)),
    ],
)
def test_metric_and_its_direction(
    project: Path, metrics: list[str], metric: str, expected: tuple[str, bool]
) -> None:
    loaded = load(project / "a.toml", [f"model.metrics={metrics}", f"tune.metric={metric}"])
    assert metric_of(loaded.experiment.tune.metric, loaded.experiment.model.metrics) == expected


def test_a_metric_that_is_not_computed_is_an_error(project: Path) -> None:
    loaded = load(project / "a.toml", ["tune.metric=val_iou_coef"])
    with pytest.raises(ConfigError, match="not computed"):
        metric_of(loaded.experiment.tune.metric, loaded.experiment.model.metrics)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["augmentation.enabled=true"],
        ["model.num_classes=1"],
        ["model.model=ResEncUNet"],
        ["model.model=UNetPlusPlus"],
        ["model.metrics=[]"],
    ],
)
def test_the_default_space_can_be_searched_for_any_network(
    project: Path, overrides: list[str]
) -> None:
    (project / "a.toml").write_text(CONFIG, encoding="utf-8")
    loaded = load(project / "a.toml", overrides)
    metric, _ = metric_of(loaded.experiment.tune.metric, loaded.experiment.model.metrics)
    names = list(default_space(loaded.experiment.model, loaded.experiment.augmentation, metric))
    assert [p.name for p in parameters_of(loaded, overrides, metric)] == names
    assert names[0] == "model.learning_rate" and 2 <= len(names) <= 8
