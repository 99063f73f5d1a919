"""Converts the images of one patient, given by name or as a study, to files that the model reads."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import SimpleITK as sitk

from magms_nnunet.dicom.choice import check_frames, choose_series, guesses, parse_series
from magms_nnunet.dicom.study import Series, find_series
from magms_nnunet.dicom.volume import read_volume
from magms_nnunet.errors import CaseError
from magms_nnunet.images.named_files import convert, is_read_as_it_is, labels_of, parse_named
from magms_nnunet.images.registration import register
from magms_nnunet.images.resample import choose_grid, is_on_grid, resample
from magms_nnunet.inference.job import file_stamps
from magms_nnunet.modalities import Modalities, Subset
from magms_nnunet.storage.files import sha256

_IDENTIFIERS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesDescription")


@dataclass(frozen=True)
class GivenPatient:
    """A patient's images.

    Attributes:
        files: channel -> file that the model reads.
        labels: channel -> name of the image in messages.
        stamps: of the given files.
        report: part of the JSON on the images.
        series: channel -> DICOM series, of a study.
        grid_of: channel whose grid all images share; None: the grid is that of no image.
    """

    files: dict[int, Path]
    labels: dict[int, str]
    stamps: dict[Path, tuple[int, int] | None]
    report: dict
    series: Mapping[int, Series]
    grid_of: int | None


def given_by_name(
    tokens: Sequence[str], modalities: Modalities, case: str, file_ending: str, folder: Path
) -> GivenPatient:
    """Convert images that are named ``NAME=FILE``; a folder is a DICOM series.

    Args:
        tokens: of the flag ``--image``.
        modalities: of the model.
        case: name of the case, for messages.
        file_ending: of the files that the model reads.
        folder: for converted files.

    Raises:
        InputError: a token or a file cannot be used.
    """
    given = parse_named(tokens, modalities)
    labels, files, series = labels_of(given, modalities), {}, {}
    for channel, path in given.items():
        target = folder / f"image_{channel:04d}{file_ending}"
        if path.is_dir():
            series[channel] = _only_series(path, case, labels[channel])
            files[channel] = _write(read_volume(series[channel], labels[channel]), target)
        else:
            as_it_is = is_read_as_it_is(path, file_ending)
            files[channel] = path if as_it_is else convert(path, target, case, labels[channel])
    names = {modalities.names[channel]: path.name for channel, path in given.items()}
    hashes = {modalities.names[channel]: _digest(path, series.get(channel)) for channel, path in given.items()}
    stamps = file_stamps([*given.values(), *(file for one in series.values() for file in one.files)])
    return GivenPatient(files, labels, stamps, {"files": names, "files_sha256": hashes}, series, min(files))


def given_by_study(
    study: Path,
    tokens: Sequence[str],
    requested: Subset | None,
    modalities: Modalities,
    file_ending: str,
    folder: Path,
    *,
    registered: bool,
    keep_identifiers: bool,
) -> GivenPatient:
    """Convert the series of a DICOM study.

    Args:
        study: folder of the study.
        tokens: ``NAME=UID``, of the flag ``--series``.
        requested: channels that are wanted; None: all that the study has.
        modalities: of the model.
        file_ending: of the files that the model reads.
        folder: for the volumes.
        registered: whether the images will be registered, so that frames of reference may differ.
        keep_identifiers: whether the report names patient, study and series.

    Raises:
        InputError: the study cannot be used, or the series of a modality is not clear.
    """
    found = find_series(study)
    chosen = choose_series(found, parse_series(tokens, found, modalities), modalities, requested)
    if not registered:
        check_frames(chosen, modalities)
    kinds, files, labels, about = guesses(found), {}, {}, {}
    for channel, series in chosen.items():
        name = modalities.names[channel]
        labels[channel] = f"series {series.number} ({name})"
        image = read_volume(series, labels[channel])
        files[channel] = _write(image, folder / f"image_{channel:04d}{file_ending}")
        guess = kinds[series.uid]
        about[name] = {"series_number": series.number, "images": len(series.headers), "confidence": guess.confidence}
        about[name] |= {"reason": guess.reason}
        if keep_identifiers:
            about[name] |= {keyword: str(series.headers[0].get(keyword, "")) for keyword in _IDENTIFIERS}
    hashes = {modalities.names[channel]: _digest(study, series) for channel, series in chosen.items()}
    names = {modalities.names[channel]: label for channel, label in labels.items()}
    report = {"files": names, "files_sha256": hashes, "dicom": about}
    stamps = file_stamps(file for series in chosen.values() for file in series.files)
    return GivenPatient(files, labels, stamps, report, chosen, min(files))


def on_one_grid(
    given: GivenPatient, wanted: str, modalities: Modalities, file_ending: str, folder: Path, *, registered: bool
) -> GivenPatient:
    """Resample all images to one grid.

    Args:
        given: the patient.
        wanted: see :func:`magms_nnunet.images.resample.choose_grid`.
        modalities: of the model.
        file_ending: of the files that the model reads.
        folder: for the resampled files.
        registered: whether to register the images rigidly first.

    Raises:
        InputError: the patient lacks the image of the grid, or a registration fails.
    """
    images = {channel: sitk.ReadImage(str(file)) for channel, file in given.files.items()}
    channel_of_grid, reference, is_own = choose_grid(images, wanted, modalities)
    files, resampled, registrations = dict(given.files), [], {}
    for channel, image in images.items():
        transform = None
        if registered and channel != channel_of_grid:
            found = register(images[channel_of_grid], image, given.labels[channel])
            transform, registrations[modalities.names[channel]] = found.transform, found.report
        if transform is None and is_on_grid(image, reference):
            continue
        made = resample(image, reference, transform)
        files[channel] = _write(made, folder / f"resampled_{channel:04d}{file_ending}")
        resampled.append(modalities.names[channel])
    grid = {"asked_for": wanted, "of": modalities.names[channel_of_grid], "resampled": resampled}
    report = given.report | {"grid": grid} | ({"registration": registrations} if registered else {})
    return replace(given, files=files, report=report, grid_of=channel_of_grid if is_own else None)


def _only_series(folder: Path, case: str, label: str) -> Series:
    found = find_series(folder)
    if len(found) > 1:
        raise CaseError(case, f"{label} holds {len(found)} DICOM series: give the folder of one, or use --dicom")
    if found[0].problem is not None:
        raise CaseError(case, f"{label} {found[0].problem}")
    return found[0]


def _write(image: sitk.Image, path: Path) -> Path:
    sitk.WriteImage(image, str(path), useCompression=False)
    return path


def _digest(path: Path, series: Series | None) -> str:
    """Return the SHA-256 of a file; for a series that of its files' digests in the order of the slices."""
    if series is None:
        return sha256(path)
    return hashlib.sha256("".join(map(sha256, series.files)).encode()).hexdigest()
