import bookkeeping


def test_a_row_per_number_of_cases(capsys, tmp_path):
    bookkeeping.main(["--cases", "2", "5", "--json", str(tmp_path / "x.json")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["cases", "2", "5"]
    assert (tmp_path / "x.json").read_text().count('"continue_s"') == 2
