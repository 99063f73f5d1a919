"""Tables as text: Markdown for reading, LaTeX for papers. Any name stays text in both."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from magms_nnunet.errors import one_line

MARKDOWN = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": r"\|", **{mark: f"\\{mark}" for mark in "\\`*[]#~$"}}
LATEX = {
    **{mark: f"\\{mark}" for mark in "{}_%&#$"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    **{"●": r"$\bullet$", "○": r"$\circ$", "±": r"$\pm$", "×": r"$\times$", "−": "$-$", "–": "--"},
}


@dataclass(frozen=True)
class Cell:
    """A text in a table; ``best`` prints it bold."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class TextTable:
    """A table.

    Attributes:
        title: one line.
        header: titles of the columns.
        rows: cells of every row, as many as there are titles.
        note: for the reader.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    note: str = ""


def markdown(table: TextTable) -> str:
    """Return title, table and note as Markdown."""
    header = [escape_markdown(title) for title in table.header]
    rows = [[_markdown_cell(cell) for cell in row] for row in table.rows]
    widths = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]
    lines = [[text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in [header, *rows]]
    lines.insert(1, ["-" * width for width in widths])
    parts = [f"## {escape_markdown(table.title)}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return "\n\n".join([*parts, *([escape_markdown(table.note)] if table.note else [])]) + "\n"


def latex(table: TextTable) -> str:
    """Return a LaTeX ``table`` environment that needs no package."""
    rows = [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in table.rows]
    caption = ". ".join(escape_latex(text.rstrip(".")) for text in (table.title, table.note) if text)
    return "\n".join(
        [
            r"\begin{table}",
            f"\\caption{{{caption}.}}",
            f"\\begin{{tabular}}{{{'l' * len(table.header)}}}",
            r"\hline",
            " & ".join(map(escape_latex, table.header)) + r" \\",
            r"\hline",
            *rows,
            r"\hline",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape_markdown(text: str) -> str:
    """Escape a text, so that it cannot become HTML, a column or emphasis; underscores inside a word are left."""
    escaped = "".join(MARKDOWN.get(character, character) for character in one_line(" ".join(text.split())))
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", escaped)


def escape_latex(text: str) -> str:
    """Escape a text, so that every character stands for itself."""
    return "".join(LATEX.get(character, character) for character in one_line(" ".join(text.split())))


def _markdown_cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return escape_markdown(cell)
    return f"**{escape_markdown(cell.text)}**" if cell.best else escape_markdown(cell.text)


def _latex_cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return escape_latex(cell)
    return f"\\textbf{{{escape_latex(cell.text)}}}" if cell.best else escape_latex(cell.text)
