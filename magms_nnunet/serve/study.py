"""An uploaded study in DICOM, and which of its series stand for which modality, as ``magms_predict`` says it."""

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
"""Of the files, in a job's folder."""

_FLAG = re.compile(r"--(?:(series|register|output-type) |(modalities|grid))")


@dataclass(frozen=True)
class StudyFlags:
    """The flags of ``magms_predict --dicom``, which are a request's parameters."""

    series: tuple[str, ...] = ()
    modalities: tuple[str, ...] | None = None
    dicom_seg: bool = False
    grid: str | None = None
    register: bool = False


@dataclass(frozen=True)
class Study:
    """The files of a study.

    Attributes:
        folder: that holds them.
        names: stored name -> what the client calls the file.
    """

    folder: Path
    names: dict[str, str] = field(default_factory=dict)

    def series(self) -> list[Series]:
        """All series, by number.

        Raises:
            Problem: a file is damaged or unfit, there are several patients or studies, or DICOM is not read here.
        """
        try:
            require_pydicom()
        except InputError as error:
            raise Problem(501, f"this server reads no DICOM: {error}") from error
        try:
            self._check_transfer_syntaxes()
            return find_series(self.folder)
        except InputError as error:
            raise Problem(422, told(error, self.folder, self.names)) from error

    def choose(self, flags: StudyFlags, modalities: Modalities, voxels: int) -> tuple[str, ...]:
        """The modalities that are predicted from.

        Args:
            flags: of the request.
            modalities: the model's.
            voxels: of a series at the most.

        Raises:
            Problem: the study cannot be used; where it does not say which series is meant, ``series`` lists them all.
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
            raise Problem(422, told(error, self.folder, self.names), members=listed) from error
        for channel, series in chosen.items():
            name = f"series {one_line(series.number)} ({modalities.names[channel]})"
            if (size := _voxels(series)) > voxels:
                raise Problem(422, f"{name} has {size} voxels, and this server takes {voxels}: crop it")
        return tuple(modalities.names[channel] for channel in chosen)

    def _check_transfer_syntaxes(self) -> None:
        """See that no file is deflated: a few bytes of it can fill the memory, before anything of it is known."""
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
    """What there is to choose from.

    Each has ``number``, ``uid``, ``description``, ``images``, ``modalities`` that it could be, ``reason`` and
    ``confidence`` of that; a series that cannot be used has ``problem`` and no modalities.
    """
    known, kinds = guesses(series), kinds_of(modalities)
    found = []
    for one in series:
        about: dict = {"number": one.number, "uid": one.uid, "description": one.description, "images": len(one.files)}
        about |= {"modalities": [], "reason": None, "confidence": None, "problem": one.problem}
        if guess := known.get(one.uid):
            names = [modalities.names[channel] for channel, kind in kinds.items() if kind in guess.kinds]
            about |= {"modalities": names, "reason": guess.reason, "confidence": guess.confidence}
        found.append(about)
    return found


def told(message: object, folder: Path, names: dict[str, str]) -> str:
    """A message of ``magms_predict`` in the words of the interface: the client's names, and parameters for flags."""
    text = re.sub(rf"{re.escape(str(folder))}/(\d+)", lambda m: shorten(names.get(m[1], m[1])), str(message))
    text = text.replace(str(folder), "the zip").replace("magms_series shows", "POST /series shows")
    return _FLAG.sub(lambda m: m[2] or f"{m[1]}=", text)


def _voxels(series: Series) -> int:
    """Of what is read, as its headers declare it."""
    sizes = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel")
    return sum(math.prod(int(header.get(size) or 1) for size in sizes) for header in series.headers)
