"""What the commands of __main__ do, one function each; every option is checked before the long work starts."""

import argparse
import contextlib
import io
import json
import math
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import torch
from tqdm import tqdm

from minidiff.digits.captions import parse
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
from minidiff.symbols import Images, InputError, Labels, Tokens
from minidiff.training.checkpoints import Trained, check_writable, kind, load, only_run, same_data, save, write_atomically
from minidiff.training.device import compiled, device, precision, sampling_precision
from minidiff.training.draws import processes
from minidiff.training.generation import METHODS, Guided, cfg_words, generate
from minidiff.training.loop import Saving, train
from minidiff.training.recipes import BUDGETS, Recipe
from minidiff.training.sentences import to_tokens


def train_model(options: argparse.Namespace) -> None:
    """Train one model by its recipe and save it; the checkpoint beside it is removed when the weights are there."""
    recipe = _recipe(options)
    out = check_writable(options.out or f"{options.name}.safetensors")
    every = _positive("--checkpoint-every", options.checkpoint_every)
    saving = Saving(out.with_name(f"{out.name}.checkpoint"), every, options.resume)
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
    """Draw the digits that were asked for and write a picture or arrays."""
    out = check_writable(options.out)
    if out.suffix not in (".png", ".npz"):
        raise InputError(f"--out must end in .png or .npz, got {options.out!r}.")
    _positive("--n", options.n)
    guided, y, asked = _by_prompt(options) if options.prompt else _by_digit(options)
    guided, rows = guided._replace(eta=options.eta), y.repeat_interleave(options.n, dim=0).to(device())
    x_0 = generate(guided, rows, options.w, options.steps, options.seed, progress=True)
    write_atomically(out, _png(x_0, options.n) if out.suffix == ".png" else _npz(x_0, np.repeat(asked, options.n)))
    what = ", ".join(map(repr, options.prompt)) if options.prompt else options.digit
    what += f" away from {options.negative!r}" if options.negative else ""
    how = f"w = {options.w:g}, eta = {options.eta:g}, seed {options.seed}, {sampling_precision(device())}"
    print(f"wrote {out}: {options.n} x {what} by {options.method}, {how}")


def _by_digit(options: argparse.Namespace) -> tuple[Guided, Labels, np.ndarray]:
    if options.negative:
        raise InputError("--negative is a sentence against a sentence: it wants --prompt.")
    method = METHODS[options.method]
    models = _models(method.needs, options.weights)
    digits = parse_digits(options.digit, models[method.needs[-1]].facts["classes"])
    return method.build(*models.values()), torch.tensor(digits), np.array(digits)


def _by_prompt(options: argparse.Namespace) -> tuple[Guided, Tokens, np.ndarray]:
    if options.method != "cfg":
        raise InputError(
            f"--prompt goes with classifier-free guidance only: a classifier reads no sentence; got {options.method}."
        )
    tokens = to_tokens(options.prompt)
    for prompt in filter(None, (*options.prompt, options.negative)):
        try:
            parse(prompt)
        except InputError as error:
            print(f"note: {error} It is drawn all the same, somehow.", file=sys.stderr)
    words = _models(("words",), options.weights)["words"]
    return cfg_words(words, options.negative), tokens, np.array(options.prompt)


def evaluate_methods(options: argparse.Namespace) -> None:
    """Measure every method over the guidance scale s, a row for each seed; with --out, go on where an earlier run stopped."""
    out = check_writable(options.out) if options.out else None
    counts = {option: _positive(f"--{option}", getattr(options, option)) for option in ("n", "seeds")}
    setting = _setting(options, counts["n"], counts["seeds"])
    needs = [name for method in setting.methods for name in EVERY[method].needs]
    models = _models((*dict.fromkeys(needs), "judge"), options.weights)
    judge_net = models["judge"]
    enough(setting.each * judge_net.facts["classes"], judge_net.net["judge"].head.in_features)
    with only_run(out) if out else contextlib.nullcontext():
        rows = continued(out, models, setting) if out else []
        by = reference(models["judge"])
        total = len(real_ones(by, setting)) + setting.count()
        made = search(models, by, setting, rows) if isinstance(setting, Search) else sweep(models, by, setting, rows)
        with tqdm(desc="evaluate", unit="row", total=total, initial=len(rows), leave=False) as bar:
            for row in made:
                tqdm.write(as_text(row))
                bar.update()
                rows.append(row)
                if out:
                    write_atomically(out, as_csv(rows, setting))
    print(f"\n{as_table(points(again(rows) if isinstance(setting, Search) else rows))}")


def _setting(options: argparse.Namespace, each: int, seeds: int) -> Setting:
    if options.variants:
        if tuple(options.scales) != SCALES:
            raise InputError("--variants has scales of its own: leave --scales out.")
        if seeds < 2:
            raise InputError("--variants needs --seeds 2 at least: one for the search, the others for what it chose.")
        return searching(each, seeds, options.steps)
    setting = Setting(tuple(options.methods), tuple(sorted(set(options.scales))), seeds, each, options.steps)
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


def parse_digits(text: str, classes: int = 10) -> list[int]:
    """ "7", "0-9" or "1,3,5-7" as a list. Raises InputError for anything else and for a digit outside 0..classes - 1."""
    digits = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if not match:
            raise InputError(f'A digit, or digits like "0-9" or "1,3,5-7", expected, got {text!r}.')
        digits += range(int(match[1]), int(match[2] or match[1]) + 1)
    if not digits:
        raise InputError(f"No digit in {text!r}: write the smaller one first.")
    if max(digits) >= classes:
        raise InputError(f"Unknown digit in {text!r}: this model knows 0 to {classes - 1}.")
    return digits


def _models(needs: tuple[str, ...], files: list[str]) -> dict[str, Trained]:
    """The needed models on the device, from the named files where there are some, else the shipped weights."""
    named = {}
    for file in files:
        name = kind(file)
        if name not in needs or name in named:
            raise InputError(f"{file}: weights of {name!r}, but {' and '.join(needs)} are wanted here, one file each.")
        named[name] = file
    models = {name: load(name, named.get(name)) for name in needs}
    same_data(*models.values())
    for model in models.values():
        model.net.to(device())
    return models


def _positive(option: str, value: int) -> int:
    if value < 1:
        raise InputError(f"{option} must be at least 1, got {value}.")
    return value


def _png(x_0: Images, columns: int, zoom: int = 4) -> bytes:
    rows = to_bytes(x_0).cpu().unflatten(0, (-1, columns))  # (digits, n, 28, 28)
    picture = rows.permute(0, 2, 1, 3).flatten(2).flatten(0, 1).numpy()
    file = io.BytesIO()
    matplotlib.image.imsave(file, np.kron(picture, np.ones((zoom, zoom), np.uint8)), cmap="gray", vmin=0, vmax=255, format="png")
    return file.getvalue()


def _npz(x_0: Images, y: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x=to_bytes(x_0).cpu().numpy(), y=y)
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
