"""The generated pages cover every command and every public name."""

import re

import magms_nnunet
from tests.docs.blocks import ROOT
from tests.docs.test_blocks import SCRIPTS


def test_every_command_is_on_its_page():
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    entries = re.findall(r"^## (\w+)\n\n```\{argparse\}\n:module: ([\w.]+)\n:func: parser\n:prog: (\w+)\n", page, re.M)
    assert {name: f"{module}:main" for name, module, prog in entries if name == prog} == SCRIPTS


def test_every_public_name_is_on_its_page():
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\.\. auto(?:class|function):: [\w.]+\.(\w+)$|:members: (.+)$", page, re.M))
    names = {name for found in documented for part in found for name in part.split(", ")}
    assert set(magms_nnunet.__all__) - {"__version__"} <= names
