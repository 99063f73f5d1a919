"""The code blocks of README and docs."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
OWN_TEST = {"reproduce.md"}  # tests/datasets/test_reproduce.py runs all of it as one script

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w{}-]*)\n(?P<code>.*?)^ *```$", re.DOTALL | re.MULTILINE)
_REASON = re.compile(r"<!-- not run: (?P<reason>[^\n]+?) -->\n\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        reason: why it is not run, from the HTML comment before it; None: it is run.
    """

    page: str
    line: int
    language: str
    code: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def _blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        reason = _REASON.search(text[: match.start()])
        found.append(
            Block(
                page.name,
                text.count("\n", 0, match.start()) + 1,
                match["language"],
                textwrap.dedent(match["code"]),
                reason and reason["reason"],
            )
        )
    return found


BLOCKS = [block for page in PAGES if page.name not in OWN_TEST for block in _blocks(page)]


def runnable(language: str) -> list[Block]:
    """The blocks of a language that are run."""
    return [block for block in BLOCKS if block.language == language and block.reason is None]
