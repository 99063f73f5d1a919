"""An uploaded DICOM study, and the assignment of its series to modalities, as in ``magms_predict``."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from magms_nnunet.dicom.choice import (
    UnclearSeriesError,
    check_frames,
    choose_series,
    guesses,
    kinds_of,
    parse_series,
)
from magms_nnunet.dicom.study import Series, find_series, require_pydicom
from magms_nnunet.errors import InputError, one_line, shorten
from magms_nnunet.modalities import Modalities
from magms_nnunet.serve.problems import Problem

FOLDER = "study"
"""Name of the folder of the files, within that of a job."""

_FLAG = re.compile(r"--(?:(series|register|output-type) |(modalities|grid))")


@dataclass(frozen=True)
class StudyFlags:
    """The flags of ``magms_predict --dicom``, from the parameters of a request."""

    series: tuple[str, ...] = ()
    modalities: tuple[str, ...] | None = None
    dicom_seg: bool = False
    grid: str | None = None
    register: bool = False


@dataclass(frozen=True)
class Study:
    """The files of a study.

    Attributes:
        folder: of the files.
        names: stored name -> name by the client.
    """

    folder: Path
    names: dict[str, str] = field(default_factory=dict)

    def series(self) -> list[Series]:
        """Return all series, by number.

        Raises:
            Problem: a file is damaged or unfit, there are several patients or studies, or DICOM is not supported.
        """
        try:
            require_pydicom()
        except InputError as error:
            raise Problem(501, f"this server reads no DICOM: {error}") from error
        try:
            self._check_transfer_syntaxes()
            return find_series(self.folder)
        except InputError as error:
            raise Problem(422, client_message(error, self.folder, self.names)) from error

    def choose(self, flags: StudyFlags, modalities: Modalities, voxels: int) -> tuple[str, ...]:
        """Return the modalities of the prediction.

        Args:
            flags: of the request.
            modalities: of the model.
            voxels: largest number of voxels of a series.

        Raises:
            Problem: the study cannot be used; where the series of a modality is not clear, ``series`` lists all.
        """
        found = self.series()
        try:
            named = parse_series(flags.series, found, modalities)
            wanted = None if flags.modalities is None else modalities.parse(modalities.split(flags.modalities))
            chosen = choose_series(found, named, modalities, wanted)
            if not flags.register:
                check_frames(chosen, modalities)
        except InputError as error:
            listed = {"series": described(found, modalities)} if isinstance(error, UnclearSeriesError) else {}
            raise Problem(422, client_message(error, self.folder, self.names), members=listed) from error
        for channel, series in chosen.items():
            name = f"series {one_line(series.number)} ({modalities.names[channel]})"
            if (size := _voxels(series)) > voxels:
                raise Problem(422, f"{name} has {size} voxels, and this server takes {voxels}: crop it")
        return tuple(modalities.names[channel] for channel in chosen)

    def _check_transfer_syntaxes(self) -> None:
        """Check that no file is deflated: a few bytes could fill the memory before the header is read."""
        from pydicom.errors import InvalidDicomError
        from pydicom.filereader import read_file_meta_info
        from pydicom.uid import DeflatedExplicitVRLittleEndian

        for path in sorted(self.folder.iterdir()):
            try:
                syntax = read_file_meta_info(path).get("TransferSyntaxUID")
            except (InvalidDicomError, EOFError, ValueError, AttributeError) as error:
                raise InputError(f"{path} is truncated or damaged ({type(error).__name__}): copy it again") from error
            if syntax == DeflatedExplicitVRLittleEndian:
                raise InputError(f"{path} is deflated: export the study without compression of whole files")


def described(series: list[Series], modalities: Modalities) -> list[dict]:
    """Describe the series for the choice.

    Each has ``number``, ``uid``, ``description``, ``images``, ``modalities`` that it could be, ``reason`` and
    ``confidence`` of that; a series that cannot be used has ``problem`` and no modalities.
    """
    guessed, kinds = guesses(series), kinds_of(modalities)
    found = []
    for one in series:
        about: dict = {"number": one.number, "uid": one.uid, "description": one.description, "images": len(one.files)}
        about |= {"modalities": [], "reason": None, "confidence": None, "problem": one.problem}
        if guess := guessed.get(one.uid):
            names = [modalities.names[channel] for channel, kind in kinds.items() if kind in guess.kinds]
            about |= {"modalities": names, "reason": guess.reason, "confidence": guess.confidence}
        found.append(about)
    return found


def client_message(message: object, folder: Path, names: dict[str, str]) -> str:
    """Return a message of ``magms_predict`` with the client's file names, and parameters in place of flags.

    Args:
        message: of ``magms_predict``.
        folder: of the files.
        names: stored name -> name by the client.
    """
    text = re.sub(rf"{re.escape(str(folder))}/(\d+)", lambda m: shorten(names.get(m[1], m[1])), str(message))
    text = text.replace(str(folder), "the zip").replace("magms_series shows", "POST /series shows")
    return _FLAG.sub(lambda m: m[2] or f"{m[1]}=", text)


def _voxels(series: Series) -> int:
    """Return the number of voxels of a series by its headers."""
    sizes = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel")
    return sum(math.prod(int(header.get(size) or 1) for size in sizes) for header in series.headers)
