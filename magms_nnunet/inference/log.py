"""``magms_predict.log`` in the output folder: what was run with which version, and a line per case."""

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
    """Adds lines with their time; lines of earlier runs stay. A run that predicts nothing leaves no line.

    Absolute paths lose their folders. A line that cannot be written is lost: the terminal has it, too, and a full disk
    is reported by the case that it stops.

    Args:
        output: folder of the results.
        part: of ``parts``, from 0; each has a log of its own.
        given: paths that the command was given, whose folders no line shall name.

    Raises:
        InputError: a link is in the place of the log.
    """

    def __init__(self, output: Path, part: int, parts: int, given: Iterable[Path]):
        self._file = output / (FILE if parts == 1 else f"magms_predict_{part}_of_{parts}.log")
        self._folders = sorted({f"{path.absolute().parent}/" for path in given}, key=len, reverse=True)
        self._waiting: list[str] | None = []
        self._reports: list[dict] = []
        check_no_link(self._file)

    def begin(self, text: str) -> None:
        """Add a line; from here on lines are written, with those that came before."""
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
        """A case is done; ``report``: content of its JSON."""
        self._reports.append(report)
        expected = report["expected_dice"]
        text = f"{report['case']}: done from {'+'.join(report['modalities_used'])}"
        text += "" if expected is None else f", expected Dice {expected['mean']:.2f}"
        text += ", WEAK" if report["weak"] else ""
        self.note(text + "".join(f"; warning: {warning}" for warning in report["warnings"]))

    @contextmanager
    def run(self, what: str, failed: Mapping[str, str]) -> Iterator[None]:
        """Note the beginning of a run, the cases that failed, and how it ended.

        Args:
            what: it does.
            failed: case -> message, by its end.
        """
        start = perf_counter()
        self.note(f"start: {', '.join(f'{name} {number}' for name, number in installed_versions().items())}; {what}")
        try:
            yield
        except BaseException as error:
            self.note(f"stopped: {error if isinstance(error, InputError) else type(error).__name__}")
            raise
        for case, message in failed.items():
            self.note(f"{case}: failed: {message}")
        self.note(f"end: {summary(self._reports, len(failed), perf_counter() - start)}")
