import pytest

from magms_nnunet.comparison.text_table import Cell, TextTable, escape_latex, escape_markdown, latex, markdown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("whole_tumor", "whole_tumor"),
        ("_a_ b", r"\_a\_ b"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a|b", r"a\|b"),
        (r"a\|b", r"a\\\|b"),
        ("**no** [x](y) `z` # $", r"\*\*no\*\* \[x\](y) \`z\` \# \$"),
        ("two\nlines", "two lines"),
    ],
)
def test_markdown_stays_text(text, expected):
    assert escape_markdown(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b 5% & #1 $x$", r"a\_b 5\% \& \#1 \$x\$"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("<~^|>", r"\textless{}\textasciitilde{}\textasciicircum{}\textbar{}\textgreater{}"),
        ("● ○ 1 ± 2", r"$\bullet$ $\circ$ 1 $\pm$ 2"),
    ],
)
def test_latex_stays_text(text, expected):
    assert escape_latex(text) == expected


def test_both_forms_of_a_table():
    table = TextTable("A & B", ["x", "y_1"], [["a|b", Cell("1.0", best=True)], ["c", Cell("0.5")]], "A note")
    assert markdown(table).splitlines() == [
        "## A &amp; B",
        "",
        "| x    | y_1     |",
        "| ---- | ------- |",
        r"| a\|b | **1.0** |",
        "| c    | 0.5     |",
        "",
        "A note",
    ]
    lines = latex(table).splitlines()
    assert r"\caption{A \& B. A note.}" in lines
    assert r"x & y\_1 \\" in lines
    assert r"a\textbar{}b & \textbf{1.0} \\" in lines
    assert r"\begin{tabular}{ll}" in lines
