"""The folder of an evaluation: begins, continues and completes it, and merges parts.

``run.json`` describes the evaluation, ``cases/`` holds each finished case, ``slices/`` a slice of it for the report,
and ``segmentations/SUBSET/`` the predictions, where they are wanted.
From these ``scores.csv``, ``entropy.csv``, ``soft_dice.csv``, ``summary.json`` and ``report.html`` are made at the end.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from magms_nnunet.errors import InputError
from magms_nnunet.evaluation.run_json import check_run
from magms_nnunet.evaluation.score_logits import SubsetScores
from magms_nnunet.metrics.scores import COLUMNS, read_scores, summarise, write_scores
from magms_nnunet.report.report import write_report
from magms_nnunet.storage.csv_files import write_csv
from magms_nnunet.storage.files import (
    UNFINISHED,
    check_no_link,
    is_hidden,
    make_folder,
    remove_unfinished,
    reserved_name,
    write_then_rename,
)
from magms_nnunet.storage.json_files import read_json_object, replace_json

# Keys that must agree for rows of one table. A continued evaluation must also read the same folders, whose paths may
# differ between parts on several machines.
_IDENTITY = ("model", "protocol", "fill", "settings", "checks", "modalities", "regions", "subsets", "all_cases")
_ABSENT = ("absent_modalities",)  # missing in run.json where no case lacks a modality
_FOLDERS = ("images", "labels", "previous_stage")
SEGMENTATIONS = "segmentations"
ENTROPY_COLUMNS = ("case", "subset", "entropy_nats")
SOFT_DICE_COLUMNS = ("case", "subset", "region", "soft_dice")


def begin(folder: Path, run: dict) -> None:
    """Write run.json, or check that the folder holds the same evaluation.

    Args:
        folder: existing, and locked by :func:`magms_nnunet.storage.output_lock.locked_output`.
        run: content of run.json.

    Raises:
        InputError: the folder holds something else.
    """
    path = folder / "run.json"
    if path.is_file():
        if differing := _differing(read_run(folder), run, (*_IDENTITY, *_ABSENT, *_FOLDERS, "part")):
            raise InputError(f"{folder} holds an evaluation with another {', '.join(differing)}: choose another -o")
    else:
        if others := sorted(path.name for path in folder.iterdir() if not is_hidden(path)):
            raise InputError(f"{folder} is not empty ({others[0]}) and no evaluation: choose another -o")
        replace_json(path, run)
    for kept in ("cases", "slices"):
        make_folder(folder / kept)
    check_no_link(folder / SEGMENTATIONS)
    for written in (folder / "cases", folder / "slices", *folder.glob(f"{SEGMENTATIONS}/*")):
        check_no_link(written)
        remove_unfinished(written)


def read_run(folder: Path) -> dict:
    """Read run.json.

    Raises:
        InputError: the file is missing or damaged.
    """
    if not (folder / "run.json").is_file():
        raise InputError(f"{folder} is no evaluation: it has no run.json")
    run = _read(folder / "run.json")
    if missing := [key for key in (*_IDENTITY, "part", "cases") if key not in run]:
        raise InputError(f"{folder / 'run.json'} lacks {', '.join(missing)}: evaluate again")
    check_run(folder / "run.json", run)
    return run


def _differing(one: dict, other: dict, keys: Sequence[str]) -> list[str]:
    as_json = json.loads(json.dumps(other))  # tuples become lists
    one, as_json = (run | (run.get("folders_sha256") or {}) for run in (one, as_json))  # two folders may have one name
    return [key.replace("_", " ") for key in keys if one.get(key) != as_json.get(key)]


def check_case_names(names: Sequence[str]) -> None:
    """Raise InputError where the name of a case could lead out of the folder, or is that of an unfinished file."""
    for name in names:
        if reason := reserved_name(name):
            raise InputError(f"case name {name!r} {reason}")
        if name in ("", ".", "..") or name != Path(name.replace("\\", "/")).name:
            raise InputError(f"case name {name!r} is no file name: rename the case")


def finished_cases(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the cases that have been scored."""
    return [name for name in names if case_file(folder, name).is_file()]


def case_file(folder: Path, name: str) -> Path:
    """Return the file of the scores of a case."""
    return folder / "cases" / f"{name}.json"


def save_case(
    folder: Path,
    name: str,
    scores: dict[str, SubsetScores],
    subsets: Sequence[str],
    image: dict,
    files_sha256: dict[str, str],
) -> None:
    """Keep the scores of a case; the file that marks the case as finished is written last.

    Args:
        folder: of the evaluation.
        name: of the case.
        scores: of every subset that the case has.
        subsets: in the order of run.json.
        image: as :func:`magms_nnunet.evaluation.score_logits.slice_of_images` returns it.
        files_sha256: of the files of the case, see :mod:`magms_nnunet.evaluation.case_files`.
    """
    nothing = np.zeros_like(next(iter(scores.values())).labels)
    predictions = np.stack([scores[subset].labels if subset in scores else nothing for subset in subsets])

    def save(temporary: str) -> None:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, predictions=predictions, **image)

    write_then_rename(folder / "slices" / f"{name}.npz", save)
    own = [subset for subset in subsets if subset in scores]
    rows = [row for subset in own for row in scores[subset].rows]
    entropies = {subset: scores[subset].entropy_nats for subset in own}
    estimates = {subset: scores[subset].soft_dice for subset in own}
    content = {"scores": rows, "entropy_nats": entropies, "soft_dice": estimates, "files_sha256": files_sha256}
    replace_json(case_file(folder, name), content)


def files_sha256(folder: Path, name: str) -> object:
    """Return the hashes that a finished case keeps of its files.

    Raises:
        InputError: the file of the case is damaged.
    """
    return _read(case_file(folder, name)).get("files_sha256")


def _read(path: Path) -> dict:
    return read_json_object(path, f"{path} does not exist: evaluate again", "remove it, and evaluate again")


def _read_case(path: Path) -> dict:
    case = _read(path)
    rows, entropies, estimates = case.get("scores"), case.get("entropy_nats"), case.get("soft_dice", {})
    if not (
        isinstance(rows, list)
        and all(isinstance(row, dict) and row.keys() == set(COLUMNS) for row in rows)
        and isinstance(entropies, dict)
        and all(isinstance(nats, int | float) for nats in entropies.values())
        and isinstance(estimates, dict)
        and all(isinstance(of_subset, dict) for of_subset in estimates.values())
        and all(isinstance(dice, int | float) for of_subset in estimates.values() for dice in of_subset.values())
    ):
        raise InputError(f"{path} is damaged: remove it, and evaluate again")
    return case


def complete(folder: Path) -> dict:
    """Write the tables, the summary and the report from the cases that are finished.

    Returns:
        The summary.

    Raises:
        InputError: run.json or the file of a case is damaged.
    """
    run = read_run(folder)
    names = finished_cases(folder, run["all_cases"])
    replace_json(folder / "run.json", run | {"cases": names})
    cases = {name: _read_case(case_file(folder, name)) for name in names}
    write_scores(folder / "scores.csv", (row for case in cases.values() for row in case["scores"]))
    entropies = [(name, subset, nats) for name, case in cases.items() for subset, nats in case["entropy_nats"].items()]
    write_csv(folder / "entropy.csv", ENTROPY_COLUMNS, entropies)
    write_csv(folder / "soft_dice.csv", SOFT_DICE_COLUMNS, soft_dice_rows(cases))
    import pandas as pd

    entropy = pd.DataFrame(entropies, columns=ENTROPY_COLUMNS)
    summary = summarise(read_scores(folder / "scores.csv"), entropy, run["subsets"], run["modalities"])
    replace_json(folder / "summary.json", summary)
    write_report(folder)
    return summary


def soft_dice_rows(cases: Mapping[str, dict]) -> list[tuple[str, str, str, float]]:
    """Return the rows of soft_dice.csv; cases without the network's own estimate have none."""
    return [
        (name, subset, region, dice)
        for name, case in cases.items()
        for subset, of_subset in case.get("soft_dice", {}).items()
        for region, dice in of_subset.items()
    ]


def merge(parts: Sequence[Path], folder: Path) -> None:
    """Join the parts of an evaluation (``-num_parts``) into one; the parts are kept.

    Raises:
        InputError: a part is of another evaluation, unfinished, or given twice; parts are missing; or ``folder`` is a
            part, or holds something else.
    """
    if folder.resolve() in {part.resolve() for part in parts}:
        raise InputError(f"{folder} is one of the parts to merge: choose another -o")
    runs = {part: read_run(part) for part in parts}
    first = runs[parts[0]]
    owner: dict[str, Path] = {}
    for part, run in runs.items():
        if differing := _differing(first, run, (*_IDENTITY, *_ABSENT)):
            raise InputError(f"{part} and {parts[0]} are of evaluations with another {', '.join(differing)}")
        for name in finished_cases(part, run["all_cases"]):
            if name in owner:
                raise InputError(f"{name} is in {owner[name]} and in {part}: give each part once")
            owner[name] = part
    if missing := [name for name in first["all_cases"] if name not in owner]:
        raise InputError(
            f"the parts are not complete, {len(missing)} of {len(first['all_cases'])} cases are missing "
            f"({', '.join(missing[:8])}{', …' if len(missing) > 8 else ''}): give all parts, or finish them first"
        )
    begin(folder, first | {"part": [0, 1], "cases": [], "command": f"magms_evaluate --merge ({len(parts)} parts)"})
    for name, part in owner.items():
        for path in (Path("slices") / f"{name}.npz", Path("cases") / f"{name}.json"):
            write_then_rename(folder / path, partial(shutil.copyfile, part / path))
    for part in parts:
        if (part / SEGMENTATIONS).is_dir():
            shutil.copytree(
                part / SEGMENTATIONS,
                folder / SEGMENTATIONS,
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns(f"{UNFINISHED}*"),
                copy_function=lambda source, target: write_then_rename(target, partial(shutil.copyfile, source)),
            )
