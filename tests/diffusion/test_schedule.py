"""The tables against numbers computed by another route, and the contract."""

import math

import pytest
import torch

from minidiff.diffusion.schedule import NoiseSchedule, cosine, extract, linear
from minidiff.symbols import InputError


def test_linear_is_ho_2020():
    schedule = linear()
    assert schedule.T == 1000
    assert schedule.beta[0] == 0
    assert schedule.abar[0] == 1
    assert schedule.beta[1].item() == pytest.approx(1e-4, abs=1e-18)
    assert schedule.beta[1000].item() == pytest.approx(0.02, abs=1e-17)
    product = 1.0
    for step in range(1000):  # plain Python floats, a second route to abar_T
        product *= 1 - (1e-4 + (0.02 - 1e-4) * step / 999)
    assert schedule.abar[1000].item() == pytest.approx(product, rel=1e-12)
    assert math.sqrt(product) == pytest.approx(0.0064, abs=5e-5)  # the value people quote


def test_cosine_is_nichol_and_dhariwal_2021():
    schedule = cosine()

    def f(t):
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in (1, 10, 500, 990, 999):  # beta is clipped only at t = 1000
        assert schedule.abar[t].item() == pytest.approx(f(t) / f(0), rel=1e-9)
    assert schedule.beta[1000] == 0.999
    assert schedule.beta[999] < 0.999


def test_variances_at_both_ends(schedule):
    assert schedule.small_variance[1] == 0
    assert schedule.large_variance[1] == 0
    for t in (2, 17, 1000):
        by_hand = schedule.beta[t] * (1 - schedule.abar[t - 1]) / (1 - schedule.abar[t])
        assert schedule.small_variance[t].item() == pytest.approx(by_hand.item(), rel=1e-14)
        assert schedule.large_variance[t] == schedule.beta[t]
    assert (schedule.small_variance[2:] < schedule.large_variance[2:]).all()


def test_fewer_levels_are_scaled_so_that_x_T_is_noise():
    assert linear(T=200).abar[-1].sqrt() < 0.01
    beta = torch.tensor([0.0, *torch.linspace(1e-4, 0.02, 150).tolist()], dtype=torch.float64)
    with pytest.raises(InputError, match=r"sqrt\(abar_T\) is 0\.468.*Scale the betas by 1000 / T"):
        NoiseSchedule(beta)
    signal = NoiseSchedule(beta, max_signal=1.0).abar[-1].sqrt().item()
    assert signal == pytest.approx(0.468, abs=5e-4)


@pytest.mark.parametrize(
    "beta",
    [[0.1, 0.2, 0.3], [0.0, 0.0, 0.999], [0.0, 0.5, 1.0], [0.0, -0.1, 0.999], [0.0, math.nan, 0.9]],
)
def test_broken_betas_are_refused(beta):
    with pytest.raises(InputError, match="strictly between 0 and 1"):
        NoiseSchedule(torch.tensor(beta, dtype=torch.float64))


def test_extract_picks_a_value_for_every_row():
    table = torch.tensor([0.0, 10.0, 20.0], dtype=torch.float64)
    picked = extract(table, torch.tensor([2, 0, 1, 2]), torch.zeros(4, 1, 5, 5))
    assert picked.shape == (4, 1, 1, 1)
    assert picked.dtype == torch.float32
    assert picked.flatten().tolist() == [20, 0, 10, 20]


@pytest.mark.parametrize(("change", "same"), [(0.0, True), (2.3e-16, True), (1e-11, False)])
def test_the_last_bit_of_a_cosine_makes_no_other_schedule(schedule, change, same):
    """Another CPU's cosine is off by 2.2e-16 in some betas; more than 1e-12 is another schedule."""
    other = NoiseSchedule(schedule.beta + change * (torch.arange(1001) % 250 == 1))
    assert other.same_as(schedule) == same


def test_other_tables_are_other_schedules_and_say_which_they_are():
    assert not cosine().same_as(linear())
    assert not cosine().same_as(cosine(T=500))
    assert linear(T=200).name == "linear(T=200, first=0.0001, last=0.02)"
    assert cosine().name == "cosine(T=1000, s=0.008)"
