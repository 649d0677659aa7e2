"""The worlds are as promised, and their routes to one number agree."""

import torch
from torch.testing import assert_close

from minidiff.verify.worlds import DIMS, SCHEDULES


def test_the_worlds_are_as_promised(worlds):
    """1, 2 and 64 dimensions, both schedules, every t, float64, own labels and others."""
    assert len(worlds) == len(DIMS) * len(SCHEDULES) == 6
    for case in worlds:
        assert case.t.unique().tolist() == list(range(1, 1001))
        assert case.x_t.dtype == torch.float64
        assert case.y.unique().tolist() == [0, 1, 2]
        share = case.log_y(case.x_t).exp()
        assert (share > 0.9).any()
        assert (share < 0.1).any()


def test_scale_is_the_largest_score_at_this_t(worlds):
    case = worlds[1]
    scores = [case.mixture.score(case.x_t, case.t, y) for y in (None, case.y)]
    for t in (1, 500, 1000):
        rows = case.t == t
        largest = torch.stack(scores)[:, rows].abs().max()
        assert case.score_scale[rows].unique().tolist() == [largest.item()]


def test_densities_by_torch_and_by_the_mixture_agree(worlds):
    for case in worlds[:2]:
        by_mixture = case.log_p_given_y(case.x_t)[:, None]
        assert_close(case.log_p_by_torch, by_mixture, rtol=1e-11, atol=1e-11)


def test_tables_are_read_at_the_t_of_each_row_or_above(worlds):
    case, beta = worlds[0], worlds[0].schedule.beta
    rows = [0, 17, -2]
    t = case.t[rows]
    assert torch.equal(case.column(beta)[rows, 0], beta[t])
    assert torch.equal(case.column(beta, shift=-1)[rows, 0], beta[t - 1])
    assert_close(case.root[rows, 0], (1 - case.schedule.abar[t]).sqrt())


def test_images_have_a_shape_and_the_same_numbers(worlds):
    for case in worlds:
        assert case.images.shape[1:] == ((1, 8, 8) if "64" in case.name else case.x_t.shape[1:])
        assert torch.equal(case.images.flatten(1), case.x_t)
