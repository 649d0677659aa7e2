"""A user's own classifier_guided and classifier_free, checked in a process of its own.

It finds mistakes, not cheats: a file that wants to can make every claim hold.
"""

import contextlib
import importlib.util
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from minidiff.diffusion.schedule import NoiseSchedule
from minidiff.symbols import Denoiser, InputError, Points, Steps
from minidiff.verify.claims import CLAIMS, Formulas
from minidiff.verify.runner import Verdict, check_claim, not_run
from minidiff.verify.worlds import all_worlds


def check_module(
    path: str | Path, chosen: list[int], seconds: float = 20.0
) -> Iterator[tuple[int, Verdict]]:
    """Check CLAIMS[i] for i in `chosen`, with a Python file's functions in place of the package's.

    Yields a verdict for each, in order. `seconds` is the time limit for importing the file and
    again for each claim; a claim that could not be checked has `trouble`, a sentence that says why.
    The file runs as the user, with full rights.
    """
    todo = list(chosen)
    while todo:
        with _Child(path, todo, seconds) as child:
            trouble = child.ask("does not finish importing")
            while todo and not trouble:
                answer = child.ask("did not return")
                if not isinstance(answer, Verdict):
                    answer = not_run(CLAIMS[todo[0]], str(answer))
                yield todo.pop(0), answer
                if child.is_over:
                    break
        if trouble:
            yield from ((i, not_run(CLAIMS[i], str(trouble))) for i in todo)
            return


class _Child:
    """A process that imports the file, then answers for claim after claim: verdict or sentence."""

    def __init__(self, path: str | Path, todo: list[int], seconds: float):
        spawn = multiprocessing.get_context("spawn")
        self.name, self.seconds, self.is_over = Path(path).name, seconds, False
        self.inbox, outbox = spawn.Pipe(duplex=False)
        self.process = spawn.Process(target=_serve, args=(str(path), todo, outbox), daemon=True)
        self.process.start()
        outbox.close()  # the child's end: when the child dies, the pipe ends
        self._take(60 + seconds, "start")  # loading torch is not the user's time

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *_: object) -> None:
        # its own children too, where there are process groups
        with contextlib.suppress(AttributeError, OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()

    def ask(self, late: str) -> Verdict | str:
        """The next answer ("" after the import), or the sentence that says why there is none."""
        return self._take(self.seconds, late)

    def _take(self, seconds: float, late: str) -> Verdict | str:
        try:
            while self.inbox.poll(seconds):
                sender, answer = self.inbox.recv()
                if sender == self.process.pid:  # not a fork of it
                    return answer
            self.is_over = True
            return f"{self.name}: {late} within {seconds:g} seconds."
        except EOFError:
            self.is_over = True
            self.process.join()
            return f"{self.name}: the process ended with status {self.process.exitcode}."


def _serve(path: str, todo: list[int], outbox: Connection) -> None:
    with contextlib.suppress(AttributeError, OSError):
        os.setsid()  # a process group of its own, which can be ended as a whole
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    os.dup2(2, 1)  # what the file prints does not mix with the table
    torch.set_num_threads(1)
    worlds = list(all_worlds())
    outbox.send((os.getpid(), ""))
    try:
        formulas, theirs = load_formulas(path)
    except InputError as error:
        outbox.send((os.getpid(), str(error)))
        return
    outbox.send((os.getpid(), ""))
    for i in todo:
        try:
            verdict = check_claim(CLAIMS[i], worlds, formulas)
        except InputError as error:
            verdict = not_run(CLAIMS[i], str(error))
        yours = tuple(name for name in CLAIMS[i].uses if name in theirs)
        outbox.send((os.getpid(), verdict._replace(yours=yours)))


def load_formulas(path: str | Path) -> tuple[Formulas, set[str]]:
    """The watched functions of a Python file, and their names. Raises InputError if it has none."""
    path = Path(path).resolve()
    if not path.is_file():
        raise InputError(f"{path.name}: no such file.")
    spec = importlib.util.spec_from_file_location("minidiff_user_module", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path.name}: not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.parent))  # so that it may import its neighbours
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        raise InputError(f"{path.name} does not import: {_said(error)}") from None
    torch.set_grad_enabled(True)  # whatever it set for itself
    torch.set_default_dtype(torch.float32)
    torch.set_default_device("cpu")
    found = {name: vars(module)[name] for name in Formulas._fields if name in vars(module)}
    if not found:
        raise InputError(f"{path.name} has neither {' nor '.join(Formulas._fields)}.")
    for name, function in found.items():
        if not callable(function):
            kind = type(function).__name__
            raise InputError(f"{name} in {path.name} is no function, but a value of type {kind}.")
    watched = {name: _watched(name, function) for name, function in found.items()}
    return Formulas(**watched), set(found)


def _watched(name: str, function: Callable) -> Callable:
    """The same function; everything unusable that it does is an InputError with a sentence."""

    def make(*arguments: object) -> Denoiser:
        copies = [_copy(one) if isinstance(one, NoiseSchedule) else one for one in arguments]
        eps_bar = _call(name, function, *copies)
        if not callable(eps_bar):
            came = type(eps_bar).__name__
            raise InputError(f"{name} must return a function of x_t and t, and returned a {came}.")

        def watched(x_t: Points, t: Steps) -> Points:
            given = x_t.clone()
            who = f"Without autograd, as in the samplers, {name}'s denoiser"
            with torch.no_grad():  # as the samplers do
                came = _call(who, eps_bar, given, t.clone())
            not_yours = "which belongs to the caller: work on a copy."
            if not torch.equal(given, x_t):
                raise InputError(f"{name} writes to x_t, {not_yours}")
            for mine, theirs in zip(arguments, copies, strict=True):
                if isinstance(mine, NoiseSchedule) and not torch.equal(mine.abar, theirs.abar):
                    raise InputError(f"{name} writes to schedule.abar, {not_yours}")
            return _usable(name, came, x_t)

        return watched

    return make


def _usable(name: str, came: object, x_t: Points) -> Points:
    wanted = f"{name}'s denoiser must return a"
    if type(came) is not torch.Tensor:  # no subclass: it could do anything
        raise InputError(f"{wanted} tensor, and returned a {type(came).__name__}.")
    if came.layout is not torch.strided or came.device != x_t.device:
        got = f"{came.layout} on {came.device}"
        raise InputError(f"{wanted} dense tensor on {x_t.device}, got {got}.")
    if came.shape != x_t.shape:
        shapes = f"{tuple(x_t.shape)}, and is {tuple(came.shape)}"
        raise InputError(f"{name}: the shape must be that of x_t, {shapes}.")
    if came.dtype != x_t.dtype:
        dtypes = f"{x_t.dtype}, and is {came.dtype}"
        raise InputError(f"{name}: the dtype must be that of x_t, {dtypes}.")
    if not bool(came.isfinite().all()):
        raise InputError(f"{name} returns NaN or infinity.")
    return came.detach()


def _copy(schedule: NoiseSchedule) -> NoiseSchedule:
    return NoiseSchedule(schedule.beta.clone(), schedule.max_signal)


def _call(name: str, function: Callable, *arguments: object) -> object:
    try:
        return function(*arguments)
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: they are the file's own
        raise InputError(f"{name} raised {_said(error)}") from None


def _said(error: BaseException) -> str:
    """The exception in one line of at most 200 characters, whatever it is."""
    try:
        text = str(error).partition("\n")[0]
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}"[:200].strip(": ") + "."
