"""Makes pages from templates: each is one file for a browser, and shows any name as text."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from magms_nnunet.report.figures import heat
from magms_nnunet.storage.files import write_then_rename

if TYPE_CHECKING:
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def write_page(target: Path, template: str, content: Mapping) -> None:
    """Write a page.

    Args:
        target: file to write.
        template: name of a file in ``templates``.
        content: of the template.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # names of cases, modalities and regions may be anything that a file system allows
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"signed": _signed, "duration": _duration, "breakable": _breakable}
    environment.globals |= {"heat": heat}
    page = environment.get_template(template).render(content)
    write_then_rename(target, lambda path: Path(path).write_text(page, encoding="utf-8"))


def _breakable(name: str) -> "Markup":
    """Return a name with possible line breaks after underscores and pluses, which browsers do not make themselves."""
    from markupsafe import Markup

    return Markup("<wbr>").join(part for part in re.split("(?<=[_+])", name) if part)  # join escapes the parts


def _signed(value: float) -> str:
    """Return ``-0.103`` with a typographic minus, ``+0.004``, or ``0.000`` for values that round to it."""
    text = f"{value:+.3f}"
    return text[1:] if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def _duration(seconds: float) -> str:
    """Return ``26.0 hours`` or ``4.5 minutes``."""
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"
