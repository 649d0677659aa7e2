"""minidiff verify: every formula executed where the true answer is known; or a user's own functions."""

import argparse
import json
import math
from pathlib import Path

import torch

from minidiff.commands.options import Help
from minidiff.symbols import InputError
from minidiff.verify.claims import CLAIMS
from minidiff.verify.runner import Verdict, at_fault, check_claim
from minidiff.verify.user_module import check_module
from minidiff.verify.worlds import all_worlds

DESCRIPTION = """\
Execute the claims in Gaussian mixtures (1, 2 and 64 dimensions, two schedules, every t), where the true answer is known: two
independent routes to each number, and wrong versions that must be rejected. About 12 seconds, float64, no data, no weights.

With --module F, functions of the Python file F are judged in the place of the package's:
  classifier_guided(eps, log_prob, schedule, w) -> eps_bar          used by M4, M4=M6, P1
  classifier_free(eps_cond, eps_uncond, w) -> eps_bar                 used by M6, M7, M4=M6
eps, eps_cond, eps_uncond and eps_bar are functions of (x_t, t) that return noise of the shape and dtype of x_t; log_prob(x_t, t)
returns log p(y|x_t) for each row; schedule.abar is a table over t. They are called without autograd, as in the samplers. F runs
with your rights: judge only files that you would run. A file can cheat; this finds mistakes, not cheats.

--json prints for each claim: worst, where, tolerance, wrong_versions (how many), accepted (those that were not rejected),
looks_like (the wrong version that your function equals), yours (which of your functions were used), trouble (why not judged).
Exit status: 0 all claims hold, 1 one fails, 2 the file could not be judged.
"""


def add_to(sub: argparse._SubParsersAction) -> None:
    """The command and its options."""
    add = sub.add_parser("verify", help="execute every formula", description=DESCRIPTION, formatter_class=Help).add_argument
    add("--claim", metavar="M4", help="this claim only: M1 to M7, M4=M6, or P1")
    add("--module", metavar="F", help="a Python file with classifier_guided or classifier_free, or both")
    add("--time-limit", type=float, default=20.0, metavar="S", help="seconds for each claim of F")
    add("--json", action="store_true", help="print JSON instead of a table")
    sub.choices["verify"].set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Execute the claims and print a table. 0: all hold; 1: a claim fails; 2: the user's file could not be judged."""
    if not 0 < options.time_limit <= 1e6:
        raise InputError(f"--time-limit must be a positive number of seconds, at most a million, got {options.time_limit}.")
    if options.module and not Path(options.module).is_file():
        raise InputError(f"{options.module}: no such file.")
    chosen = [i for i, claim in enumerate(CLAIMS) if options.claim is None or options.claim.upper() == claim.name]
    if not chosen:
        raise InputError(f"No claim {options.claim!r}: {', '.join(dict.fromkeys(claim.name for claim in CLAIMS))}.")
    torch.set_num_threads(1)  # small tensors: more threads only get in each other's way
    theirs = [i for i in chosen if CLAIMS[i].uses] if options.module else []
    if options.module and not theirs:
        users = dict.fromkeys(claim.name for claim in CLAIMS if claim.uses)
        raise InputError(f"{options.claim} uses neither function of a module. These do: {', '.join(users)}.")
    foreign = check_module(options.module, theirs, options.time_limit) if theirs else iter(())
    worlds, verdicts = list(all_worlds()), []
    if not options.json:
        print(f"{'claim':7}{'worst':9}{'tolerance':11}{'rejected':10}{'sympy':7}{'verdict':9}equation", flush=True)
    for i in chosen:
        verdicts.append(next(foreign)[1] if i in theirs else check_claim(CLAIMS[i], worlds))
        if not options.json:
            print(_table_row(verdicts[-1]), flush=True)
    print(_as_json(verdicts) if options.json else _summary(verdicts, options.module, [world.name for world in worlds]))
    if any(verdict.trouble for verdict in verdicts) or (options.module and not any(verdict.yours for verdict in verdicts)):
        return 2
    return 0 if all(verdict.holds for verdict in verdicts) else 1


def _table_row(verdict: Verdict) -> str:
    proved = {True: "proved", False: "FALSE", None: "-"}[verdict.sympy]
    if verdict.trouble:
        return f"{verdict.claim:7}{'-':9}{'-':11}{'-':10}{proved:7}{'NOT RUN':9}{verdict.equation}"
    rejected = f"{verdict.wrong_versions - len(verdict.accepted)} of {verdict.wrong_versions}"
    said = "holds" if verdict.holds else "FAILS"
    return f"{verdict.claim:7}{verdict.worst:<9.1e}{verdict.tolerance:<11.0e}{rejected:10}{proved:7}{said:9}{verdict.equation}"


def _summary(verdicts: list[Verdict], module: str | None, worlds: list[str]) -> str:
    lines = [at_fault(verdicts)] if at_fault(verdicts) else []
    if module:
        yours = sorted({name for verdict in verdicts for name in verdict.yours})
        lines.append(f"Judged from {module}: {', '.join(yours) or 'nothing'}. Every other formula is the package's own.")
    held = sum(verdict.holds for verdict in verdicts)
    lines.append(
        f"{held} of {len(verdicts)} claims hold: float64, every t of T = 1000, in {len(worlds)} worlds: {', '.join(worlds)}.\n"
        "worst: largest |difference| / largest score of that t (P1: / largest x_t; M1: / its log density).\n"
        "rejected: wrong versions that miss by 1,000 tolerances or more, in every world. sympy: the equation itself is proved\n"
        "(-: it is no algebra). These two are about the equation; worst is about the code."
    )
    return "\n".join(lines)


def _as_json(verdicts: list[Verdict]) -> str:
    rows = [{**verdict._asdict(), "worst": _finite(verdict.worst), "holds": verdict.holds} for verdict in verdicts]
    return json.dumps({"holds": all(verdict.holds for verdict in verdicts), "claims": rows}, indent=2)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
