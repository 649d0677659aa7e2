"""minidiff verify: every formula executed where the truth is known; or a user's own functions."""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from minidiff.commands.options import add_command
from minidiff.symbols import InputError
from minidiff.verify.claims import CLAIMS, Claim
from minidiff.verify.runner import Verdict, at_fault, check_claim
from minidiff.verify.user_module import check_module
from minidiff.verify.worlds import World, all_worlds

DESCRIPTION = """\
Execute the claims in Gaussian mixtures (1, 2 and 64 dimensions, two schedules, every t),
where the true answer is known: two independent routes to each number, and wrong versions
that must be rejected. About 12 seconds, float64, no data, no weights.

With --module F, functions of the Python file F are judged in the place of the package's:
  classifier_guided(eps, log_prob, schedule, w) -> eps_bar      used by M4, M4=M6, P1
  classifier_free(eps_cond, eps_uncond, w) -> eps_bar           used by M6, M7, M4=M6
eps, eps_cond, eps_uncond and eps_bar are functions of (x_t, t) that return noise of the
shape and dtype of x_t; log_prob(x_t, t) returns log p(y|x_t) for each row; schedule.abar
is a table over t. They are called without autograd, as in the samplers. F runs with your
rights: judge only files that you would run. A file can cheat; this finds mistakes, not
cheats.

--json prints for each claim: worst, where, tolerance, wrong_versions (how many),
accepted (those that were not rejected), looks_like (the wrong version that your function
equals), yours (which of your functions were used), trouble (why not judged).
Exit status: 0 all claims hold, 1 one fails, 2 the file could not be judged.
"""
HEAD = f"{'claim':7}{'worst':9}{'tolerance':11}{'rejected':10}{'sympy':7}{'verdict':9}equation"
LEGEND = """\
worst: largest |difference| / largest score of that t (P1: / largest x_t; M1: / its log density).
rejected: wrong versions that miss by 1,000 tolerances or more, in every world.
sympy: the equation itself is proved (-: it is no algebra).
These two are about the equation; worst is about the code."""


def add_to(sub: argparse._SubParsersAction) -> None:
    """The command and its options."""
    add = add_command(sub, run, "verify", "execute every formula", DESCRIPTION).add_argument
    add("--claim", metavar="M4", help="this claim only: M1 to M7, M4=M6, or P1")
    module = "a Python file with classifier_guided or classifier_free, or both"
    add("--module", metavar="F", help=module)
    add("--time-limit", type=float, default=20.0, metavar="S", help="seconds for each claim of F")
    add("--json", action="store_true", help="print JSON instead of a table")


def run(options: argparse.Namespace) -> int:
    """Print what each claim gives. 0: all hold; 1: one fails; 2: the file could not be judged."""
    if not 0 < options.time_limit <= 1e6:
        raise InputError(
            "--time-limit must be a positive number of seconds, at most a million, "
            f"got {options.time_limit}."
        )
    if options.module and not Path(options.module).is_file():
        raise InputError(f"{options.module}: no such file.")
    torch.set_num_threads(1)  # small tensors: more threads only get in each other's way
    claims, worlds = _chosen(options), list(all_worlds())
    if not options.json:
        print(HEAD, flush=True)
    verdicts = []
    for verdict in _judged(claims, worlds, options):
        verdicts.append(verdict)
        if not options.json:
            print(_table_row(verdict), flush=True)
    if options.json:
        print(_as_json(verdicts))
    else:
        print(_summary(verdicts, options.module, [world.name for world in worlds]))
    nothing_judged = options.module and not any(verdict.yours for verdict in verdicts)
    if nothing_judged or any(verdict.trouble for verdict in verdicts):
        return 2
    return 0 if all(verdict.holds for verdict in verdicts) else 1


def _chosen(options: argparse.Namespace) -> list[int]:
    """The numbers of the claims that were asked for. Raises InputError where there is none."""
    name = options.claim and options.claim.upper()
    chosen = [i for i, claim in enumerate(CLAIMS) if name in (None, claim.name)]
    if not chosen:
        raise InputError(f"No claim {options.claim!r}: {_names(CLAIMS)}.")
    if options.module and not any(CLAIMS[i].uses for i in chosen):
        users = _names([claim for claim in CLAIMS if claim.uses])
        raise InputError(f"{options.claim} uses neither function of a module. These do: {users}.")
    return chosen


def _judged(
    chosen: list[int], worlds: list[World], options: argparse.Namespace
) -> Iterator[Verdict]:
    """The verdict on each claim, with the module's functions where it uses one."""
    theirs = [i for i in chosen if CLAIMS[i].uses] if options.module else []
    of_module = check_module(options.module, theirs, options.time_limit) if theirs else iter(())
    for i in chosen:
        yield next(of_module)[1] if i in theirs else check_claim(CLAIMS[i], worlds)


def _names(claims: Sequence[Claim]) -> str:
    return ", ".join(dict.fromkeys(claim.name for claim in claims))


def _table_row(verdict: Verdict) -> str:
    proved = {True: "proved", False: "FALSE", None: "-"}[verdict.sympy]
    numbers, said = f"{'-':9}{'-':11}{'-':10}", "NOT RUN"
    if not verdict.trouble:
        rejected = verdict.wrong_versions - len(verdict.accepted)
        numbers = f"{verdict.worst:<9.1e}{verdict.tolerance:<11.0e}"
        numbers += f"{f'{rejected} of {verdict.wrong_versions}':10}"
        said = "holds" if verdict.holds else "FAILS"
    return f"{verdict.claim:7}{numbers}{proved:7}{said:9}{verdict.equation}"


def _summary(verdicts: list[Verdict], module: str | None, worlds: list[str]) -> str:
    lines = [at_fault(verdicts)] if at_fault(verdicts) else []
    if module:
        yours = ", ".join(sorted({name for verdict in verdicts for name in verdict.yours}))
        rest = "Every other formula is the package's own."
        lines.append(f"Judged from {module}: {yours or 'nothing'}. {rest}")
    held = f"{sum(verdict.holds for verdict in verdicts)} of {len(verdicts)} claims hold"
    where = f"in {len(worlds)} worlds: {', '.join(worlds)}"
    return "\n".join([*lines, f"{held}: float64, every t of T = 1000, {where}.", LEGEND])


def _as_json(verdicts: list[Verdict]) -> str:
    rows = [
        {**verdict._asdict(), "worst": _finite(verdict.worst), "holds": verdict.holds}
        for verdict in verdicts
    ]
    holds = all(verdict.holds for verdict in verdicts)
    return json.dumps({"holds": holds, "claims": rows}, indent=2)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
