"""Assigns the series of a study to the modalities of a model. Ambiguous series are not guessed."""

from collections.abc import Mapping, Sequence

from magms_nnunet.dicom.modality_rule import KINDS, Guess, guess
from magms_nnunet.dicom.study import Series
from magms_nnunet.errors import InputError, one_line
from magms_nnunet.modalities import Modalities, Subset


class UnclearSeriesError(InputError):
    """The series of a modality is not clear.

    Attributes:
        table: of the series, to choose from.
    """

    def __init__(self, message: str, series: Sequence[Series]):
        super().__init__(message)
        self.table = table(series)


def guesses(series: Sequence[Series]) -> dict[str, Guess]:
    """Return UID -> possible modalities of each volume."""
    return {one.uid: guess(one.headers[0]) for one in series if one.problem is None}


def choose_series(
    series: Sequence[Series], named: Mapping[int, Series], modalities: Modalities, requested: Subset | None
) -> dict[int, Series]:
    """Choose the series of each channel.

    Args:
        series: of the study.
        named: channels whose series the user has named.
        modalities: of the model.
        requested: channels that are wanted; None: all that the study has.

    Returns:
        Channel -> series.

    Raises:
        UnclearSeriesError: a modality could be several series, a series could be several modalities, or no series is
            a wanted modality.
    """
    guessed, usable = guesses(series), [one for one in series if one.problem is None]
    chosen, unclear = dict(named), []
    taken = {one.uid for one in named.values()}
    for channel, kind in kinds_of(modalities).items():
        if channel in named or (requested is not None and channel not in requested):
            continue
        candidates = [one for one in usable if kind in guessed[one.uid].kinds and one.uid not in taken]
        if len(candidates) == 1 and len(guessed[candidates[0].uid].kinds) == 1:
            chosen[channel] = candidates[0]
        elif candidates:
            unclear.append((channel, candidates))
    if unclear:
        channel, candidates = unclear[0]
        name = modalities.names[channel]
        which = " or ".join(f"series {one.number}" for one in candidates)
        raise UnclearSeriesError(
            f"{name} could be {which}: say which with --series {name}={candidates[0].uid}, or leave it out with "
            "--modalities",
            series,
        )
    missing = [channel for channel in requested or () if channel not in chosen]
    if missing or not chosen:
        names = modalities.format(missing) or modalities.listing()
        raise UnclearSeriesError(f"no series is {names}: name it with --series NAME=UID", series)
    return dict(sorted(chosen.items()))


def parse_series(tokens: Sequence[str], series: Sequence[Series], modalities: Modalities) -> dict[int, Series]:
    """Read tokens ``NAME=UID`` or ``NAME=NUMBER``.

    Args:
        tokens: of the flag ``--series``.
        series: of the study.
        modalities: of the model.

    Returns:
        Channel -> series.

    Raises:
        InputError: a token has another form, no series or several have that UID or number, or the series is no volume.
    """
    named: dict[int, Series] = {}
    for token in tokens:
        name, _, wanted = token.partition("=")
        if not name or not wanted:
            raise InputError(f"--series {token}: give NAME=UID, or NAME=NUMBER of the series")
        channel = modalities.parse([name])[0]
        found = [one for one in series if wanted in (one.uid, one.number)]
        if len(found) != 1:
            problem = "there is no such series" if not found else "several series have this number, give the UID"
            raise InputError(f"--series {token}: {problem} (magms_series shows the table)")
        if found[0].problem is not None:
            raise InputError(f"--series {token}: this series {found[0].problem}")
        if channel in named:
            raise InputError(f"--series names {modalities.names[channel]} twice: give each modality once")
        if found[0] in named.values():
            raise InputError(f"--series {token}: this series is given as another modality, too")
        named[channel] = found[0]
    return named


def check_frames(chosen: Mapping[int, Series], modalities: Modalities) -> None:
    """Check that the chosen series share a frame of reference.

    Raises:
        InputError: they have several.
    """
    frames: dict[str, list[str]] = {}
    for channel, one in chosen.items():
        frames.setdefault(str(one.headers[0].get("FrameOfReferenceUID", "")), []).append(modalities.names[channel])
    if len(frames) > 1:
        groups = " and ".join("+".join(names) for names in frames.values())
        raise InputError(
            f"{groups} have different frames of reference, so that their positions cannot be compared: register them "
            "with --register rigid"
        )


def table(series: Sequence[Series]) -> str:
    """Return a line per series: number, images, modality or problem, and UID."""
    guessed, rows = guesses(series), [("number", "images", "modality", "confidence", "reason", "description", "UID")]
    for one in series:
        found = guessed.get(one.uid) or Guess((), "-", str(one.problem))
        kinds = " or ".join(found.kinds) or "-"
        rows.append(
            (one.number, str(len(one.headers)), kinds, found.confidence, found.reason, one.description or "-", one.uid)
        )
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def kinds_of(modalities: Modalities) -> dict[int, str]:
    """Return channel -> the kind that its name stands for, if the rule has it."""
    found = {}
    for kind in KINDS:
        try:
            found[modalities.parse([kind])[0]] = kind
        except InputError:
            continue
    return found
