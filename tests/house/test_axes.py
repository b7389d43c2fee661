"""The named axes in signatures are checked while the tests run: tensors that do not fit are refused at the call."""

from __future__ import annotations

import jaxtyping
import pytest
import torch

from probe.models.attention import attention_scores


def test_axes_are_checked() -> None:
    assert attention_scores(torch.zeros(3, 4), torch.zeros(5, 4)).shape == (3, 5)
    with pytest.raises(jaxtyping.TypeCheckError, match="d_key"):
        attention_scores(torch.zeros(3, 4), torch.zeros(5, 6))
