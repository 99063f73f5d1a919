"""``magms_predict.log`` in the output folder: the runs with their versions, and a line per case."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from time import perf_counter

from magms_nnunet.errors import InputError, one_line
from magms_nnunet.nnunet.version import installed_versions
from magms_nnunet.storage.files import check_no_link, open_own
from magms_nnunet.trust.sentences import summary

FILE = "magms_predict.log"
_FOLDERS = re.compile(r"(?<![\w.~-])(?:[A-Za-z]:)?[\\/](?:[^\\/\s'\":;,()]+[\\/])+")


class PredictionLog:
    """Appends lines with their time. A run that predicts nothing adds no line.

    Absolute paths lose their folders. A line that cannot be written is lost: the terminal shows it, too, and a full
    disk is reported by the case that it stops.

    Args:
        output: folder of the results.
        part: number of this part, from 0; each part has a log of its own.
        parts: number of parts.
        given: paths of the command, whose folders are removed from all lines.

    Raises:
        InputError: the path of the log is a link.
    """

    def __init__(self, output: Path, part: int, parts: int, given: Iterable[Path]):
        self._file = output / (FILE if parts == 1 else f"magms_predict_{part}_of_{parts}.log")
        self._folders = sorted({f"{path.absolute().parent}/" for path in given}, key=len, reverse=True)
        self._waiting: list[str] | None = []
        self._reports: list[dict] = []
        check_no_link(self._file)

    def begin(self, text: str) -> None:
        """Add a line, and write it and all earlier ones; later lines are written at once."""
        lines, self._waiting = self._waiting or [], None
        self._write("".join(lines))
        self.note(text)

    def note(self, text: str) -> None:
        """Add a line."""
        for folder in self._folders:
            text = text.replace(folder, "")
        line = f"{datetime.now().astimezone().isoformat(timespec='seconds')} {one_line(_FOLDERS.sub('', text))}\n"
        if self._waiting is None:
            self._write(line)
        else:
            self._waiting.append(line)

    def _write(self, text: str) -> None:
        with suppress(OSError), open(self._file, "a", encoding="utf-8", opener=open_own) as file:
            file.write(text)

    def done(self, report: dict) -> None:
        """Add the line of a finished case; ``report`` is the content of its JSON."""
        self._reports.append(report)
        expected = report["expected_dice"]
        text = f"{report['case']}: done from {'+'.join(report['modalities_used'])}"
        text += "" if expected is None else f", expected Dice {expected['mean']:.2f}"
        text += ", WEAK" if report["weak"] else ""
        self.note(text + "".join(f"; warning: {warning}" for warning in report["warnings"]))

    @contextmanager
    def run(self, description: str, failed: Mapping[str, str]) -> Iterator[None]:
        """Add lines on the start of a run, the failed cases, and the end.

        Args:
            description: of the run.
            failed: case -> message, complete at the end of the block.
        """
        start = perf_counter()
        self.note(
            f"start: {', '.join(f'{name} {number}' for name, number in installed_versions().items())}; {description}"
        )
        try:
            yield
        except BaseException as error:
            self.note(f"stopped: {error if isinstance(error, InputError) else type(error).__name__}")
            raise
        for case, message in failed.items():
            self.note(f"{case}: failed: {message}")
        self.note(f"end: {summary(self._reports, len(failed), perf_counter() - start)}")
