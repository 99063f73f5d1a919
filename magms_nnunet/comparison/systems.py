"""Reads evaluation folders: a system is one of them, or several whose models share the subsets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from magms_nnunet.errors import InputError, listing
from magms_nnunet.evaluation.run_json import check_run, lacking
from magms_nnunet.metrics.scores import read_scores, read_table
from magms_nnunet.modalities import Modalities
from magms_nnunet.storage.json_files import read_json_object

if TYPE_CHECKING:
    import pandas as pd

# Key of run.json -> its type
RUN = {"model": dict, "protocol": str, "modalities": list, "regions": dict, "subsets": list, "cases": list}


@dataclass(frozen=True)
class Evaluation:
    """An evaluation by magms_evaluate.

    Attributes:
        folder: of the evaluation.
        run: content of run.json.
        scores: as :func:`magms_nnunet.metrics.scores.read_scores` returns it.
        entropy: columns case, subset, entropy_nats; None where it was not measured.
        lacking: case and subset without a score, because the case lacks a modality.
    """

    folder: Path
    run: dict
    scores: "pd.DataFrame"
    entropy: "pd.DataFrame | None"
    lacking: frozenset[tuple[str, str]]

    @property
    def modalities(self) -> Modalities:
        """Modalities of its model."""
        return Modalities(tuple(self.run["modalities"]))


@dataclass(frozen=True)
class System:
    """A system to compare: all rows of its evaluations.

    Attributes:
        name: in the tables.
        evaluations: one, or one per individually trained model.
        scores: of all evaluations.
        entropy: of all evaluations that measured it; None where none did.
    """

    name: str
    evaluations: tuple[Evaluation, ...]
    scores: "pd.DataFrame"
    entropy: "pd.DataFrame | None"

    @property
    def scored(self) -> set[tuple[str, str]]:
        """Return case and subset of all scores."""
        return set(zip(self.scores["case"], self.scores["subset"], strict=True))

    @property
    def cases(self) -> set[str]:
        """Return the cases that were scored on all subsets of the system whose modalities they have."""
        done = self.scored.union(*(evaluation.lacking for evaluation in self.evaluations))
        subsets = set(self.scores["subset"])
        return {case for case in set(self.scores["case"]) if all((case, subset) in done for subset in subsets)}


def read_evaluation(folder: Path) -> Evaluation:
    """Read one folder.

    Raises:
        InputError: the folder is missing, or its files are damaged or do not belong together.
    """
    if not folder.is_dir():
        raise InputError(f"no folder {folder}: name folders that magms_evaluate wrote")
    run = _read_run(folder / "run.json")
    scores = read_scores(folder / "scores.csv")
    scored = set(zip(scores["case"], scores["subset"], strict=True))
    without = lacking(run)
    planned = {(case, subset) for case in run["cases"] for subset in run["subsets"]} - without
    if missing := sorted(planned - scored):
        case, subset = missing[0]
        raise InputError(
            f"{folder}/scores.csv lacks {len(missing)} of {len(planned)} predictions that run.json lists, the first "
            f"{case} from {subset}: evaluate again"
        )
    if extra := sorted(scored - planned):
        case, subset = extra[0]
        raise InputError(f"{folder}/scores.csv has {case} from {subset}, which run.json does not list: evaluate again")
    if set(scores["region"]) != set(run["regions"]):
        raise InputError(
            f"{folder}: scores.csv has the regions {listing(sorted(set(scores['region'])), 5)}, run.json "
            f"{listing(sorted(run['regions']), 5)}: evaluate again"
        )
    path = folder / "entropy.csv"
    entropy = read_table(path, ("case", "subset"), ("entropy_nats",)) if path.is_file() else None
    if entropy is not None and (extra := sorted(set(zip(entropy["case"], entropy["subset"], strict=True)) - planned)):
        case, subset = extra[0]
        raise InputError(f"{path} has {case} from {subset}, which run.json does not list: evaluate again")
    return Evaluation(folder, run, scores, entropy, frozenset(without))


def _read_run(path: Path) -> dict:
    missing = f"no run.json in {path.parent}: is it a folder of magms_evaluate?"
    run = read_json_object(path, missing, "evaluate again")
    for key, kind in RUN.items():
        if not isinstance(run.get(key), kind) or not run[key]:
            raise InputError(f"{path}: {key} is missing or empty: finish the evaluation first")
    check_run(path, run)
    return run


def read_systems(arguments: Sequence[str]) -> tuple[Modalities, list[System]]:
    """Read the systems, and check that they can be compared.

    Args:
        arguments: ``[NAME=]FOLDER[,FOLDER...]`` per system; without a name, that of its first folder.

    Returns:
        The modalities of the model with most modalities, which give the order, and the systems, whose subsets are
        named in that order.

    Raises:
        InputError: a folder cannot be read, names repeat, or protocols, modalities, regions or references differ.
    """
    named = [_name_and_folders(argument) for argument in arguments]
    names = [name for name, _ in named]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"two systems are called {twice!r}: name them, NAME=FOLDER")
    evaluations = {name: [read_evaluation(folder) for folder in folders] for name, folders in named}
    everything = [evaluation for of_system in evaluations.values() for evaluation in of_system]
    modalities = max((evaluation.modalities for evaluation in everything), key=len)
    _check_alike(everything, modalities)
    systems = [
        _system(name, [_in_order_of(modalities, evaluation) for evaluation in of_system])
        for name, of_system in evaluations.items()
    ]
    _check_references(systems)
    return modalities, systems


def _name_and_folders(argument: str) -> tuple[str, list[Path]]:
    name, separator, folders = argument.partition("=")
    if not separator or Path(argument).is_dir():  # a folder's own name may hold = or ,
        name, folders = "", argument
    whole = bool(folders) and Path(folders).is_dir()
    paths = [Path(folder) for folder in ([folders] if whole else folders.split(",")) if folder]
    if not paths:
        raise InputError(f"{argument!r} names no folder: write NAME=FOLDER or NAME=FOLDER,FOLDER")
    return name.strip() or paths[0].resolve().name, paths


def _check_alike(evaluations: Sequence[Evaluation], modalities: Modalities) -> None:
    first = evaluations[0]
    for other in evaluations:
        for what in ("protocol", "regions"):
            if other.run[what] != first.run[what]:
                raise InputError(
                    f"{first.folder} and {other.folder} differ in {what}: {first.run[what]} and {other.run[what]}; "
                    "compare only what was evaluated alike"
                )
        if unknown := [name for name in other.modalities.names if name not in modalities.names]:
            raise InputError(
                f"{other.folder}: {unknown[0]} is none of the modalities {modalities.listing()} of the largest model: "
                "subsets are matched by name, as in dataset.json"
            )


def _in_order_of(modalities: Modalities, evaluation: Evaluation) -> Evaluation:
    own = evaluation.modalities
    renamed = {
        own.format(subset): modalities.format(sorted(modalities.names.index(own.names[i]) for i in subset))
        for subset in own.subsets()
    }
    tables = {}
    for name in ("scores", "entropy"):
        table = getattr(evaluation, name)
        if table is not None:
            if unknown := sorted(set(table["subset"]) - set(renamed)):
                raise InputError(
                    f"{evaluation.folder}/{name}.csv: {unknown[0]!r} is no subset of {own.listing()}: evaluate again"
                )
            tables[name] = table.assign(subset=table["subset"].map(renamed))
    absent = frozenset((case, renamed.get(subset, subset)) for case, subset in evaluation.lacking)
    return replace(evaluation, lacking=absent, **tables)


def _system(name: str, evaluations: list[Evaluation]) -> System:
    import pandas as pd

    owner = {}
    for evaluation in evaluations:
        for key in dict.fromkeys(zip(evaluation.scores["case"], evaluation.scores["subset"], strict=True)):
            if key in owner:
                raise InputError(
                    f"{name}: {key[0]} from {key[1]} is in {owner[key]} and in {evaluation.folder}: "
                    "a system has one prediction per case and subset"
                )
            owner[key] = evaluation.folder
    entropies = [evaluation.entropy for evaluation in evaluations if evaluation.entropy is not None]
    return System(
        name,
        tuple(evaluations),
        pd.concat([evaluation.scores for evaluation in evaluations], ignore_index=True),
        pd.concat(entropies, ignore_index=True) if entropies else None,
    )


def _check_references(systems: Sequence[System]) -> None:
    volumes: dict[tuple[str, str], tuple[float, Path]] = {}
    for system in systems:
        for evaluation in system.evaluations:
            table = evaluation.scores[["case", "region", "reference_mm3"]].drop_duplicates()
            for case, region, volume in table.itertuples(index=False):
                before, folder = volumes.setdefault((case, region), (volume, evaluation.folder))
                if abs(volume - before) > 1e-6 * max(volume, before):
                    raise InputError(
                        f"{case}: the reference of {region} has {before:g} mm3 in {folder} and {volume:g} mm3 in "
                        f"{evaluation.folder}: they were not evaluated against the same reference"
                    )
