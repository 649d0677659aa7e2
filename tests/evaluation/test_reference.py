"""What samples are compared with belongs to the networks that drew them."""

import pytest

from minidiff.evaluation.reference import reference
from minidiff.symbols import InputError
from minidiff.training.checkpoints import load


def test_an_evaluator_of_another_data_set_is_refused():
    evaluator = load("evaluator")
    other = evaluator._replace(metadata={**evaluator.metadata, "data_sha256": "f" * 64})
    with pytest.raises(InputError, match="another data set .* Set MINIDIFF_DATA to the folder"):
        reference(other)
