"""How a check decides: by an answer's result, beside the right one and those of known mistakes.

An answer may do anything: crash, never end, return nonsense, change its inputs (it gets copies), or
draw random numbers. Each ends in a sentence, within SECONDS.
"""

import signal
import threading
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

CORRECT = "correct"
SECONDS = 5.0  # longer than any check takes by a hundred times


class TooLong(BaseException):
    """The time of an answer is over; no Exception, which an answer might catch."""


def number(value: float) -> Tensor:
    """The number as answers get it: torch.sqrt, math.sqrt and ** 0.5 all take it."""
    return torch.tensor(value, dtype=torch.float64)


def normal(count: int) -> Float[Tensor, "count 4 3"]:
    """`count` batches of numbers from N(0, 1), always the same."""
    return torch.randn(count, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def verdict(ask: Callable, right: object, mistakes: dict[str, object]) -> str:
    """ "correct", the sentence of the mistake whose result came, or what came instead.

    ask() is called twice, with two states of torch's global random numbers. Results in float32 are
    compared as such.
    """
    came, again = (attempt(ask, seed) for seed in (1, 2))
    if isinstance(came, str) or isinstance(again, str):
        return came if isinstance(came, str) else again
    right = torch.as_tensor(right, dtype=torch.float64)
    single = came.dtype in (torch.float32, torch.float16, torch.bfloat16)
    if came.shape != right.shape:
        return f"The result has shape {tuple(came.shape)}; {tuple(right.shape)} was expected."
    if came.shape != again.shape or not torch.equal(came.nan_to_num(), again.nan_to_num()):
        return (
            "The result changes from call to call: use what you are given, and draw no random "
            "numbers of your own."
        )
    came, tolerance = came.double(), (1e-4, 1e-5) if single else (1e-6, 1e-9)
    for text, known in {CORRECT: right, **mistakes}.items():
        known = torch.as_tensor(known, dtype=torch.float64)
        if torch.allclose(came, known, rtol=tolerance[0], atol=tolerance[1]):
            return text
    if bool(came.isnan().any()):
        return "The result holds NaN: a root or logarithm of a negative number, or 0 / 0."
    worst = f"the largest difference is {float((came - right).abs().max()):.3g}"
    return f"Not yet: {worst}. Compare your line with the hint, term by term."


def attempt(ask: Callable, seed: int = 1) -> Tensor | str:
    """ask() as a tensor, or a sentence why there is none. The random state stays as it was."""
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            came = limited(ask)
        if came is None:
            return "Your function returned nothing: does it end in return?"
        came = came if isinstance(came, Tensor) else torch.as_tensor(came, dtype=torch.float64)
        return came.detach().cpu()
    except TooLong:
        after = f"after {SECONDS:g} seconds"
        return f"Your function was stopped {after}: is there a loop that never ends?"
    except (Exception, SystemExit) as error:  # whatever it raises, the notebook goes on
        return f"Your function raised {type(error).__name__}: {error}"


def limited(ask: Callable) -> object:
    """ask(), or TooLong after SECONDS: stopped by a signal, or left behind in a thread."""
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            return ask()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    found: list = []
    thread = threading.Thread(target=lambda: found.append(_result(ask)), daemon=True)
    thread.start()
    thread.join(SECONDS)
    if not found:
        raise TooLong
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def _stop(*_: object) -> None:
    raise TooLong


def _result(ask: Callable) -> object:
    try:
        return ask()
    except BaseException as error:  # it is raised where the answer is waited for
        return error
