"""A user's own classifier_guided and classifier_free, judged in a process of its own: whatever they do, the rest goes on."""

import contextlib
import importlib.util
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from minidiff.exact.cases import cases
from minidiff.exact.claims import CLAIMS, Formulas
from minidiff.exact.verify import Verdict, judge, not_run
from minidiff.symbols import Denoiser, InputError, Points, Steps


def judge_module(path: str | Path, chosen: list[int], seconds: float = 20.0) -> Iterator[tuple[int, Verdict]]:
    """Judge CLAIMS[i] for i in `chosen` with the functions of a Python file; one that is not in the file is the package's.

    Yields a verdict for each, in order. `seconds` is the time limit for importing the file and again for each claim; a
    claim that could not be judged has `trouble`, a sentence that says why. The file runs as the user, with full rights.
    """
    todo = list(chosen)
    while todo:
        with _Child(path, todo, seconds) as child:
            trouble = child.ask("does not finish importing")
            while todo and not trouble:
                answer = child.ask("did not return")
                first = todo.pop(0)
                yield first, answer if isinstance(answer, Verdict) else not_run(CLAIMS[first], answer)
                if child.is_over:
                    break
        if trouble:
            yield from ((i, not_run(CLAIMS[i], trouble)) for i in todo)
            return


class _Child:
    """A process that imports the file, then judges claim after claim and sends each answer: a verdict, or a sentence."""

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
        self.process.kill()
        self.process.join()

    def ask(self, late: str) -> Verdict | str:
        """The next answer, or the sentence that says why there is none. "" after an import that went well."""
        return self._take(self.seconds, late)

    def _take(self, seconds: float, late: str) -> Verdict | str:
        try:
            if self.inbox.poll(seconds):
                return self.inbox.recv()
            self.is_over = True
            return f"{self.name}: {late} within {seconds:g} seconds."
        except EOFError:
            self.is_over = True
            self.process.join()
            return f"{self.name}: the process ended with status {self.process.exitcode}."


def _serve(path: str, todo: list[int], outbox: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(sys.stderr):  # what the file prints does not mix with the table
        outbox.send("")
        worlds = list(cases())
        try:
            formulas, theirs = load_formulas(path)
        except InputError as error:
            outbox.send(str(error))
            return
        outbox.send("")
        for i in todo:
            try:
                verdict = judge(CLAIMS[i], worlds, formulas)
                outbox.send(verdict._replace(yours=tuple(name for name in CLAIMS[i].uses if name in theirs)))
            except InputError as error:
                outbox.send(str(error))


def load_formulas(path: str | Path) -> tuple[Formulas, set[str]]:
    """The functions of a Python file, each watched, and which were found. Raises InputError if none is or it does not import."""
    path = Path(path).resolve()
    if not path.is_file():
        raise InputError(f"{path.name}: no such file.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path.name}: not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # so that it may import its neighbours
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f"{path.name} does not import: {_said(error)}") from None
    found = {name: getattr(module, name) for name in Formulas._fields if hasattr(module, name)}
    if not found:
        raise InputError(f"{path.name} has neither {' nor '.join(Formulas._fields)}.")
    for name, function in found.items():
        if not callable(function):
            raise InputError(f"{name} in {path.name} is no function, but a value of type {type(function).__name__}.")
    return Formulas(**{name: _watched(name, function) for name, function in found.items()}), set(found)


def _watched(name: str, function: Callable) -> Callable:
    """The same function; everything unusable that it does is an InputError with a sentence."""

    def make(*arguments: object) -> Denoiser:
        eps_bar = _call(name, function, *arguments)
        if not callable(eps_bar):
            raise InputError(f"{name} must return a function of x_t and t, and returned a {type(eps_bar).__name__}.")

        def watched(x_t: Points, t: Steps) -> Points:
            came = _call(f"{name}'s denoiser", eps_bar, x_t.clone(), t.clone())
            if not isinstance(came, torch.Tensor):
                raise InputError(f"{name}'s denoiser must return a tensor, and returned a {type(came).__name__}.")
            if came.shape != x_t.shape:
                raise InputError(f"{name}: the shape must be that of x_t, {tuple(x_t.shape)}, and is {tuple(came.shape)}.")
            if came.dtype != x_t.dtype:
                raise InputError(f"{name}: the dtype must be that of x_t, {x_t.dtype}, and is {came.dtype}.")
            if not bool(came.isfinite().all()):
                raise InputError(f"{name} returns NaN or infinity.")
            return came.detach()

        return watched

    return make


def _call(name: str, function: Callable, *arguments: object) -> object:
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:
        raise InputError(f"{name} raised {_said(error)}") from None


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip(": ") + "."
