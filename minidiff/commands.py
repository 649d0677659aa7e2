"""What the commands of __main__ do, one function each; every option is checked before the long work starts."""

import argparse
import contextlib
import io
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from minidiff.asked import asked, models_of
from minidiff.digits.mnist import load_digits, to_bytes
from minidiff.exact.cases import cases
from minidiff.exact.claims import CLAIMS
from minidiff.exact.foreign import judge_module
from minidiff.exact.verify import Verdict, at_fault, judge
from minidiff.measure.evaluate import (
    EVERY,
    SCALES,
    Setting,
    as_csv,
    as_table,
    as_text,
    continued,
    points,
    real_ones,
    sweep,
)
from minidiff.measure.metrics import enough
from minidiff.measure.reference import reference
from minidiff.measure.search import Search, again, search, searching
from minidiff.symbols import Images, InputError
from minidiff.training.checkpoints import check_writable, only_run, save, write_atomically
from minidiff.training.device import compiled, device, precision, sampling_precision
from minidiff.training.draws import processes
from minidiff.training.generation import generate
from minidiff.training.loop import Saving, train
from minidiff.training.recipes import BUDGETS, Recipe


def train_model(options: argparse.Namespace) -> None:
    """Train one model by its recipe and save it; the checkpoint beside it is removed when the weights are there."""
    recipe = _recipe(options)
    out = check_writable(options.out or f"{options.name}.safetensors")
    every = _positive("--checkpoint-every", options.checkpoint_every)
    saving = Saving(out.with_name(f"{out.name}.checkpoint"), every, options.resume)
    if saving.path.exists() and not options.resume:
        raise InputError(f"{saving.path}: the state of an earlier run is there. Go on with --resume, or delete it to start anew.")
    digits, first = load_digits("train", options.data), processes().rank == 0
    with only_run(out) if first else contextlib.nullcontext():
        if first:
            limit = f"{recipe.steps} steps" if recipe.seconds is None else f"{recipe.seconds:g} seconds"
            print(f"{recipe.name}: {limit}, batches of {recipe.batch} images, {_how()}", flush=True)
        try:
            trained = train(recipe, digits, options.seed, saving=saving)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"go on with --resume, from {saving.path}." if saving.path.exists() else "") from None
        except FloatingPointError as error:
            kept = f" The last good state is in {saving.path}." if saving.path.exists() else ""
            raise FloatingPointError(f"{error}{kept}") from None
        if not first:
            return
        save(out, trained, torch.float32 if options.float32 else torch.float16)
        saving.path.unlink(missing_ok=True)
    facts = trained.facts
    print(f"wrote {out}: {facts['images_seen']:,} images in {facts['minutes']} minutes, loss {facts['loss'][-1]:.4f} at the end")


def _recipe(options: argparse.Namespace) -> Recipe:
    recipe = BUDGETS[options.budget][options.name]
    if options.steps is not None:
        return replace(recipe, steps=_positive("--steps", options.steps))
    if options.seconds is not None:
        if not 0 < options.seconds < math.inf:
            raise InputError(f"--seconds must be a positive number, got {options.seconds}.")
        return replace(recipe, seconds=options.seconds)
    return recipe


def _how() -> str:
    where, world = device(), processes().world
    rounded = precision(where)
    hint = "" if rounded == "bfloat16" or os.environ.get("MINIDIFF_PRECISION") == "float32" else ": no native bfloat16 here"
    rounded += ", compiled" * compiled()
    return f"{where.type}, {rounded}{hint}" + (f", {world} processes" if world > 1 else "")


def sample_digits(options: argparse.Namespace) -> None:
    """Draw the digits that were asked for, or any, and write a picture or arrays."""
    out = check_writable(options.out)
    if out.suffix not in (".png", ".npz"):
        raise InputError(f"--out must end in .png or .npz, got {options.out!r}.")
    _positive("--n", options.n)
    question, w = asked(options), 1.0 if options.w is None else options.w
    guided = question.guided._replace(eta=options.eta)
    x_0 = generate(guided, question.y.to(device()), w, options.steps, options.seed, progress=True)
    write_atomically(out, _png(x_0, question.columns) if out.suffix == ".png" else _npz(x_0, question.names))
    how = f"w = {w:g}, " * question.weighs + f"eta = {options.eta:g}, seed {options.seed}, {sampling_precision(device())}"
    print(f"wrote {out}: {question.said}, {how}")


def evaluate_methods(options: argparse.Namespace) -> None:
    """Measure every method over the guidance scale s, a row for each seed; with --out, go on where an earlier run stopped."""
    out = check_writable(options.out) if options.out else None
    counts = {option: _positive(f"--{option}", getattr(options, option)) for option in ("n", "seeds")}
    setting = _setting(options, counts["n"], counts["seeds"])
    needs = [name for method in setting.methods for name in EVERY[method].needs]
    models = models_of((*dict.fromkeys(needs), "judge"), options.weights)
    judge_net = models["judge"]
    enough(setting.each * judge_net.facts["classes"], judge_net.net["judge"].head.in_features)
    with only_run(out) if out else contextlib.nullcontext():
        rows = continued(out, models, setting) if out else []
        by = reference(models["judge"])
        total = len(real_ones(by, setting)) + setting.count()
        made = search(models, by, setting, rows) if isinstance(setting, Search) else sweep(models, by, setting, rows)
        try:
            with tqdm(desc="evaluate", unit="row", total=total, initial=len(rows), leave=False) as bar:
                for row in made:
                    tqdm.write(as_text(row))
                    bar.update()
                    rows.append(row)
                    if out:
                        write_atomically(out, as_csv(rows, setting))
        except KeyboardInterrupt:
            kept = f"{len(rows)} of {total} rows are in {out}; the same command goes on." if out and rows else ""
            raise KeyboardInterrupt(kept) from None
    print(f"\n{as_table(points(again(rows) if isinstance(setting, Search) else rows))}")


def _setting(options: argparse.Namespace, each: int, seeds: int) -> Setting:
    if options.variants:
        if tuple(options.scales) != SCALES:
            raise InputError("--variants has scales of its own: leave --scales out.")
        if seeds < 2:
            raise InputError("--variants needs --seeds 2 at least: one for the search, the others for what it chose.")
        return searching(each, seeds, options.steps)
    scales = sorted({round(s, 5) for s in options.scales})  # as they are written
    setting = Setting(tuple(dict.fromkeys(options.methods)), tuple(scales), seeds, each, options.steps)
    if not all(map(math.isfinite, setting.scales)):
        raise InputError("--scales must be finite numbers.")
    return setting


def verify_claims(options: argparse.Namespace) -> int:
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
    foreign = judge_module(options.module, theirs, options.time_limit) if theirs else iter(())
    worlds, verdicts = list(cases()), []
    if not options.json:
        print(f"{'claim':7}{'worst':9}{'tolerance':11}{'rejected':10}{'sympy':7}{'verdict':9}equation", flush=True)
    for i in chosen:
        verdicts.append(next(foreign)[1] if i in theirs else judge(CLAIMS[i], worlds))
        if not options.json:
            print(_table_row(verdicts[-1]), flush=True)
    print(_as_json(verdicts) if options.json else _summary(verdicts, options.module, [world.name for world in worlds]))
    if any(verdict.trouble for verdict in verdicts) or (options.module and not any(verdict.yours for verdict in verdicts)):
        return 2
    return 0 if all(verdict.holds for verdict in verdicts) else 1


def _positive(option: str, value: int) -> int:
    if value < 1:
        raise InputError(f"{option} must be at least 1, got {value}.")
    return value


def _png(x_0: Images, columns: int, zoom: int = 4) -> bytes:
    rows = list(to_bytes(x_0).cpu().split(columns))
    rows[-1] = functional.pad(rows[-1], (0, 0, 0, 0, 0, columns - len(rows[-1])))  # the last row ends in black
    picture = torch.stack(rows).permute(0, 2, 1, 3).flatten(2).flatten(0, 1).numpy()  # from (rows, columns, 28, 28)
    file = io.BytesIO()
    matplotlib.image.imsave(file, picture.repeat(zoom, 0).repeat(zoom, 1), cmap="gray", vmin=0, vmax=255, format="png")
    return file.getvalue()


def _npz(x_0: Images, y: np.ndarray | None) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x=to_bytes(x_0).cpu().numpy(), **({} if y is None else {"y": y}))
    return file.getvalue()


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
