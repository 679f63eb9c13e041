"""Who trained, validated and tested an earlier network, so that its division can be extended.

Its package tells by hashes what it was trained on and chosen by: images, or slices, which are cut
from a volume again. What tested it is told by its run: the config names the files, whose hashes are
the same under other names; where they are gone, the names of the cases are all there is.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.division.splits import SPLITS, SplitName, Splits
from flexseg.dataset.volumetric.pairing import find_pairs, volume_of
from flexseg.errors import DataError, FlexsegError
from flexseg.files.preprocess import Preprocessing
from flexseg.files.volumes.read import read_volume
from flexseg.model_file.model_description import read_seen
from flexseg.model_file.seen_images import SeenImages, digests_of
from flexseg.runs.manifest import Manifest
from flexseg.runs.seen_volumes import part_by_content
from flexseg.runs.trained import TrainedNetwork, config_of_run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EarlierCases:
    """The parts of images in the division of an earlier network.

    Attributes
    ----------
    by_content : hash of a file -> its part.
    by_name : name of a case or volume -> its part, of those whose files are gone.
    slices : names of slices of volumes whose files are gone -> their part.
    seen : what the package tells.
    """

    by_content: Mapping[bytes, SplitName]
    by_name: Mapping[str, SplitName]
    slices: Mapping[str, SplitName]
    seen: SeenImages

    def parts_of(
        self, cases: Iterable[Case], volumes: Preprocessing | None = None
    ) -> dict[Path, SplitName]:
        """Image -> its earlier part, of those cases that had one.

        Parameters
        ----------
        volumes : how the network sees slices, where the cases are volumes. Those whose file is not
            known are read for it.
        """
        cases = list(cases)
        stems = {case.id for case in cases}
        names = dict(self.by_name)
        for name, part in self.slices.items():
            if (stem := volume_of(name, stems)) is not None:
                names[stem] = part
        content = digests_of(case.image for case in cases if case.image.is_file())
        found: dict[Path, SplitName] = {}
        for case in cases:
            known = self.by_content.get(content.get(case.image, b""))
            if known is None and volumes is not None:
                known = self._by_slices(case, volumes)
            known = known or names.get(case.id)
            if known is not None:
                found[case.image] = known
        return found

    def _by_slices(self, volume: Case, preprocessing: Preprocessing) -> SplitName | None:
        if not self.seen.all or preprocessing.files > 1:
            return None
        try:
            return part_by_content(
                read_volume(volume.image), preprocessing, self.seen, volume.image
            )
        except DataError:  # told where the volumes are cut
            return None


def earlier_cases(network: TrainedNetwork) -> EarlierCases:
    """Of an earlier network.

    Raises
    ------
    DataError : its package or the manifest of its run is damaged.
    """
    seen, manifest = read_seen(network.file), network.manifest
    content: dict[bytes, SplitName] = {}
    names: dict[SplitName, tuple[str, ...]] = {}
    if manifest is not None and network.run is not None:
        try:
            content = _by_content(network.run, manifest)
        except (FlexsegError, OSError) as error:
            # What trained is known by its content; of the others a name is better than nothing.
            logger.warning("The cases of the earlier network are known by name only: %s", error)
            names = _noted(manifest)
    elif not seen.all:
        logger.warning(
            "%s does not say what images it was trained on: make sure that no test image was.",
            network.file,
        )
    content |= dict.fromkeys(seen.validated, "valid")
    content |= dict.fromkeys(seen.trained, "train")
    own = {n: part for part, ids in names.items() for n in ids if part == "test" or not seen.all}
    slices = {name: part for part, ids in names.items() for name in ids}
    return EarlierCases(content, own, slices, seen)


def _by_content(run: Path, manifest: Manifest) -> dict[bytes, SplitName]:
    """Hash -> part of the files that a run was trained, validated and tested with.

    Raises
    ------
    FlexsegError, OSError : they are not where the config of the run says.
    """
    experiment = config_of_run(run).experiment
    splits = find_splits(experiment.data)
    parts: dict[Path, SplitName] = {}
    for part, cases in splits.cases.items():
        parts |= {case.image: part for case in cases}
    dataset = experiment.dataset
    if dataset.images_dir is not None and dataset.split_file is None:
        # Shares of a folder that has grown are other cases than they were.
        noted = {name: part for part, names in _noted(manifest).items() for name in names}
        every = (case for cases in splits.cases.values() for case in cases)
        parts = {case.image: noted[case.id] for case in every if case.id in noted}
    volume = experiment.volume
    if volume.images_dir is not None and volume.masks_dir is not None:
        pairs = find_pairs(volume.images_dir, volume.masks_dir).by_stem
        tests = {stem: part for part, stems in splits.volumes.items() for stem in stems}
        parts = {pairs[stem].image: part for stem, part in _volumes(splits, pairs, tests).items()}
    digests = digests_of(path for path in parts if path.is_file())
    return {digest: parts[path] for path, digest in digests.items()}


def _noted(manifest: Manifest) -> dict[SplitName, tuple[str, ...]]:
    """The names of the cases of each part."""
    return {s: tuple(manifest.data[s].ids) for s in SPLITS if s in manifest.data}


def _volumes(
    splits: Splits, stems: Container[str], whole: Mapping[str, SplitName]
) -> dict[str, SplitName]:
    """The part of each volume: of those that were cut by the names of their slices."""
    found = dict(whole)
    for part, cases in splits.cases.items():
        for case in cases:
            if (stem := volume_of(case.id, stems)) is not None:
                found[stem] = part
    return found
