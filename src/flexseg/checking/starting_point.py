"""`flexseg check` of `[train] start_from`: the network, and what it has seen of the cases."""

from __future__ import annotations

from flexseg.config.findings import Finding, Severity, examples, some_of
from flexseg.config.load import LoadedConfig
from flexseg.dataset.division.extending import tested_finding
from flexseg.dataset.division.splits import Splits
from flexseg.errors import ConfigError, FlexsegError
from flexseg.model_file.model_description import read_seen
from flexseg.model_file.seen_images import digests_of
from flexseg.models.starting.beginning import begin_with
from flexseg.runs.earlier import earlier_cases
from flexseg.runs.trained import find_network
from flexseg.training.job import TrainingJob
from flexseg.training.warm_start import KEY, read_start


def start_findings(loaded: LoadedConfig) -> list[Finding]:
    """Whether the network is there and fits, and how much of it."""
    path, model = loaded.experiment.train.start_from, loaded.experiment.model
    if path is None:
        return []
    try:
        if ":" in model.model:
            find_network(path, KEY)
            return []
        search = loaded.path.parent
        file, start = read_start(path, model.model, search)
        package = TrainingJob.from_config(loaded).package(Splits())
        beginning = begin_with(package, start, search, file)
    except FlexsegError as error:
        scope = "config" if isinstance(error, ConfigError) else "data"
        return [Finding.of_error(error, scope, KEY)]
    told = " ".join((f"{beginning.share:.1%} of the weights are reused.", *beginning.notes))
    return [Finding(Severity.NOTE, "config", "start", KEY, told, "")]


def start_case_findings(loaded: LoadedConfig, splits: Splits) -> list[Finding]:
    """Test cases that the network has seen, and training cases that have tested it."""
    path = loaded.experiment.train.start_from
    if path is None:
        return []
    try:
        network = find_network(path, KEY)
        seen, earlier = read_seen(network.file).all, earlier_cases(network)
    except FlexsegError:  # told by `start_findings`
        return []
    tests = splits.cases.get("test", ())
    digests = digests_of(case.image for case in tests if case.image.is_file())
    known = [case.id for case in tests if digests.get(case.image) in seen]
    findings = []
    if known:
        findings.append(
            Finding(
                Severity.WARNING,
                "data",
                "start-has-seen-tests",
                "[test]",
                f"{some_of(len(known), len(tests), 'test case', 'was', 'were')} seen in the "
                f"training of the network that this one starts from: {examples(known)}. `flexseg "
                "evaluate` refuses them.",
                "Choose test cases that took no part in that training.",
                tuple(known),
            )
        )
    training = splits.cases.get("train", ())
    parts = earlier.parts_of(training)
    if tested := [case.id for case in training if parts.get(case.image) == "test"]:
        findings.append(tested_finding(tested, KEY))
    return findings
