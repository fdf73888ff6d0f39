"""The correction of vLLM's CPU operators, on arithmetic that has the same flaw."""

from __future__ import annotations

import torch

from infra.engine_mask import masked


def expand(
    inputs: torch.Tensor,
    weights: torch.Tensor,
    output: torch.Tensor,
    indices: torch.Tensor,
    add_inputs: bool = True,
) -> None:
    """Adds to each row its adapter's part; index -1 takes the last one's, as in vLLM."""
    assert add_inputs
    output += torch.einsum("bi,boi->bo", inputs, weights[indices])


def test_rows_without_an_adapter_stay_as_they_are() -> None:
    inputs, weights = torch.ones(3, 2), torch.ones(2, 4, 2) * torch.tensor([[[1.0]], [[10.0]]])
    flawed, right = torch.zeros(3, 4), torch.zeros(3, 4)
    indices = torch.tensor([0, -1, 1])
    expand(inputs, weights, flawed, indices)
    masked(expand)(inputs, weights, right, indices, add_inputs=True)
    assert flawed[:, 0].tolist() == [2.0, 20.0, 20.0]
    assert right[:, 0].tolist() == [2.0, 0.0, 20.0]
    # What other rows read must be left alone.
    assert torch.equal(inputs, torch.ones(3, 2))
