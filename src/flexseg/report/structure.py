"""The parts of a report as types; `report.json` has the same names."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from flexseg.evaluation.aggregate import Statistic
from flexseg.evaluation.summary import EvaluationSummary
from flexseg.report.sources import Missing


@dataclass
class CaseScore:
    """One case and class of `cases.csv`; `values` has its numeric columns."""

    case: str
    group: str
    class_id: int
    class_name: str
    status: str
    values: dict[str, float | None]

    @property
    def dice(self) -> float | None:
        """Dice of the case; None where the class is in neither mask."""
        return self.values.get("dice")


@dataclass(repr=False)
class Evaluation(EvaluationSummary):
    """The content of an evaluation folder: the summary, and the scores of the cases."""

    scores: list[CaseScore] = field(default_factory=list)

    @property
    def out_of_fold(self) -> bool:
        """The cases are those of a cross-validation, each scored by a network that has not seen
        it."""
        return self.folds is not None

    @property
    def elements(self) -> str:
        """What masks are made of, for people."""
        return "voxels" if self.volumes else "pixels"


@dataclass
class SplitFacts:
    """One split of the data; texts are empty where nothing is known."""

    split: str
    cases: int
    groups: int | None = None
    sizes: str = ""
    images: str = ""
    masks: str = ""
    shares: str = ""
    fingerprint: str = ""


@dataclass
class TrainingFacts:
    """How the network was trained; `start` is what it began with, "" for fresh weights."""

    status: str
    started: str
    seconds: float | None
    epochs: int | None
    best_epoch: int | None
    best_loss: float | None
    parameters: int | None
    precision: str
    seed: int | None
    versions: dict[str, str]
    start: str = ""


@dataclass
class EpochStrip:
    """Predictions of one image after some epochs; `files` are file names by epoch."""

    image: str
    files: dict[int, str]


@dataclass
class Failure:
    """A case that a reader should look at."""

    kind: str
    case: str
    class_name: str
    what: str


@dataclass
class ShownCase:
    """A case of which the report has pictures."""

    role: str
    case: str
    mean_dice: float
    scores: list[CaseScore]


@dataclass
class AuditFinding:
    """What a check of config and data has found; texts are empty where nothing is known."""

    severity: str
    scope: str
    code: str
    where: str
    what: str
    fix: str
    items: list[str] = field(default_factory=list)


@dataclass
class ExpectedQuality:
    """What a network said of its prediction of a class in a case, and what came of it.

    Attributes
    ----------
    expected, low, high : expected Dice and its 90 % interval; None where nothing is known.
    flag : "green", "yellow", "red"; "" where nothing is known.
    foreign : the input is of another kind than the training, `why` says in what; None: not known.
    dice : that it has; of a class without reference 1 where nothing was predicted, and 0 where it
        was; None: not known.
    """

    case: str
    class_id: int
    class_name: str
    expected: float | None
    low: float | None
    high: float | None
    flag: str
    foreign: bool | None
    why: str
    dice: float | None


@dataclass
class FlagFacts:
    """The predictions of one flag that have a Dice, and how many of them are bad.

    Attributes
    ----------
    count : predictions, of a class in a case each.
    below_good, below_failed : with a Dice below 0.8 and below 0.5.
    """

    flag: str
    count: int
    mean_dice: float
    below_good: int
    below_failed: int


@dataclass
class QualityFacts:
    """How sure the evaluated predictions are.

    Attributes
    ----------
    flags : what came of each flag.
    misleading : more of the green ones are bad than chance explains.
    intervals, inside : cases and classes with an interval and a Dice; those whose Dice is in it.
    checked, foreign : cases whose input was compared with the training's; those of another kind.
    unlike : more are of another kind than of inputs of the same kind are called so.
    """

    rows: list[ExpectedQuality]
    flags: list[FlagFacts]
    misleading: bool
    intervals: int
    inside: int
    checked: int
    foreign: int
    unlike: bool


@dataclass
class SuspiciousMask:
    """An annotation that looks wrong: its score, what it looks like, and why."""

    case: str
    score: float
    kind: str
    evidence: str


@dataclass
class ReviewFacts:
    """The review of the annotations of a run, see `flexseg review`.

    Attributes
    ----------
    cases : number that was looked at.
    seen_in_training : the network was trained on them.
    suspicious : the most suspicious first.
    """

    cases: int
    seen_in_training: bool
    suspicious: list[SuspiciousMask] = field(default_factory=list)


@dataclass
class CardSection:
    """A heading of the model card with its statements."""

    title: str
    points: list[str]


@dataclass
class NextStep:
    """Something to do, and the command for it, to be given in the folder of the config."""

    what: str
    command: str


@dataclass
class Setting:
    """A value of the resolved config; `source` is empty for defaults."""

    key: str
    value: str
    source: str


@dataclass
class RepairChange:
    """A value that `--repair` has changed; values as they stand in configs."""

    key: str
    before: str
    after: str
    reason: str


@dataclass
class RepairedScore:
    """A metric of an old config and of the repaired one, on the same cases.

    Attributes
    ----------
    class_id : None for the mean of the classes.
    difference, ci95 : mean of repaired - old within cases, and its 95 % interval.
    better, worse, equal : cases by whether the repaired config is better in them.
    """

    metric: str
    class_id: int | None
    class_name: str
    old: Statistic
    repaired: Statistic
    cases: int
    groups: int
    difference: float | None
    ci95: tuple[float, float] | None
    better: int
    worse: int
    equal: int


@dataclass
class OldAndRepaired:
    """The comparison of both; `why_not` says what it lacks, and is empty otherwise.

    Attributes
    ----------
    original : folder of the old config's evaluation.
    effort : how long both were trained, if that is known.
    """

    original: str
    scores: list[RepairedScore] = field(default_factory=list)
    verdict: str = ""
    effort: str = ""
    why_not: str = ""


@dataclass
class Repair:
    """What `--repair` has changed, what it has left alone, and what came of it."""

    changes: list[RepairChange]
    notes: list[str]
    comparison: OldAndRepaired


@dataclass
class Report:
    """Everything a report says. Pictures are made from it, see `flexseg.report.case_pictures`."""

    title: str
    created: str
    flexseg_version: str
    source: str
    headline: str
    training: TrainingFacts | None = None
    curves: dict[str, list[float | None]] = field(default_factory=dict)
    epoch_changes: list[EpochStrip] = field(default_factory=list)
    data: list[SplitFacts] = field(default_factory=list)
    audited: bool = False
    findings: list[AuditFinding] = field(default_factory=list)
    evaluation: Evaluation | None = None
    repair: Repair | None = None
    advice: list[str] = field(default_factory=list)
    quality: QualityFacts | None = None
    review: ReviewFacts | None = None
    failures: list[Failure] = field(default_factory=list)
    shown_cases: list[ShownCase] = field(default_factory=list)
    card: list[CardSection] = field(default_factory=list)
    next_steps: list[NextStep] = field(default_factory=list)
    config: list[Setting] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types: the JSON copy."""
        content = asdict(self)
        if (e := self.evaluation) is not None:
            content["evaluation"] |= {
                "by_group": content["evaluation"]["by_group"]["macro"] if e.by_group else {},
                "inference": e.inference or {},
                "out_of_fold": e.out_of_fold,
                "verdicts": [one.as_dict() for one in e.verdicts],
            }
            del content["evaluation"]["folds"]
            for entry, c in zip(content["evaluation"]["classes"], e.classes, strict=True):
                entry["pooled_dice"] = c.pooled_dice
        return content
