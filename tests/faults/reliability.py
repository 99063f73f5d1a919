"""The faults and promises as docs/reliability.md lists them: the one place where the rows stand."""

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|", re.MULTILINE)

# row -> what is injected
FAULTS = {int(row): fault.strip() for row, fault, _ in ROW.findall(DOCUMENT.read_text(encoding="utf-8"))}
