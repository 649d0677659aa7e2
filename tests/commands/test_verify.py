"""minidiff verify: claims in a table, a user's module in a child process, options."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
FREE = "import torch\ndef classifier_free(eps_cond, eps_uncond, w):\n    return lambda x_t, t: "


@pytest.fixture
def verify(run):
    """The command for a file with this source."""

    def command(source: str, options: str):
        Path("my_guidance.py").write_text(source)
        return run(f"verify --module my_guidance.py {options}")

    return command


def test_one_claim_in_a_table(run):
    done = run("verify --claim M3")
    assert done.status == 0
    head, *lines = done.out.splitlines()
    assert head.split() == [
        "claim",
        "worst",
        "tolerance",
        "rejected",
        "sympy",
        "verdict",
        "equation",
    ]
    rows = [line.split() for line in lines if line.startswith("M3 ")]
    assert [row[6] for row in rows] == ["proved", "-", "-"]  # "5 of 5" are three words
    assert all(row[7] == "holds" for row in rows)


def test_the_mistake_of_a_wrong_module_is_named(verify):
    s_for_w = FREE + "w * eps_cond(x_t, t) + (1 - w) * eps_uncond(x_t, t)"
    done = verify(s_for_w, "--claim M6 --json")
    found = json.loads(done.out)
    assert done.status == 1
    assert not found["holds"]
    (m6,) = found["claims"]
    assert m6["looks_like"] == "s for w: w eps(y) + (1 - w) eps"
    assert m6["yours"] == ["classifier_free"]
    assert m6["worst"] > 0.1
    done = verify(s_for_w, "--claim M6")
    assert done.status == 1
    assert "this is the wrong version 's for w: w eps(y) + (1 - w) eps'" in done.out


@pytest.mark.parametrize("source", [FREE + "os._exit(7)", "os._exit(7)"])
def test_a_process_that_ends_is_said_and_exits_with_2(verify, source):
    done = verify("import os\n" + source, "--claim M7")
    assert done.status == 2
    assert "Not judged: M7. my_guidance.py: the process ended with status 7." in done.out
    assert "NOT RUN" in done.out


def test_a_file_that_never_finishes_importing(verify):
    done = verify("while True:\n    pass", "--time-limit 1 --claim P1")
    assert done.status == 2
    assert "my_guidance.py: does not finish importing within 1 seconds." in done.out


def test_a_file_that_these_claims_do_not_use_is_not_called_right(verify):
    done = verify(FREE + "eps_cond(x_t, t)", "--claim M4")
    assert done.status == 2
    assert "Judged from" in done.out
    assert "nothing" in done.out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--claim M9", "No claim 'M9': M1, M2, M3, M4, M5, M6, M7, M4=M6, P1."),
        (f"--claim M5 --module '{__file__}'", "These do: M4, M6, M7, M4=M6, P1."),
        ("--time-limit 0", "--time-limit must be a positive number"),
        ("--time-limit nan", "--time-limit must be a positive number"),
        ("--time-limit inf", "--time-limit must be a positive number"),
        ("--module none.py --claim M6", "none.py: no such file."),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(refused, options, says):
    assert says in refused(f"verify {options}")
