from magms_nnunet.environment.finding import FAIL, OK, Finding, one_line


def test_a_line_says_status_subject_finding_and_remedy():
    assert str(Finding(OK, "torch", "2.13")) == "OK    torch: 2.13"
    assert str(Finding(FAIL, "GPU 0", "out of memory", "free it")) == "FAIL  GPU 0: out of memory: free it"


def test_an_error_is_one_line():
    assert one_line(ValueError("first\nsecond")) == "ValueError: first"
    assert one_line(ValueError()) == "ValueError: "
