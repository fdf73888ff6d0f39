"""Answers to one prompt in one row, so that the prompt is computed once.

A batch of DPO or GRPO repeats each prompt with each of its answers, and prompts with their facts are ten to
thirty times as long as answers here. Behind one copy of the prompt, each looking at the prompt and itself
alone, at the positions that they would have by themselves, answers get the same log-probabilities and
gradients (Wang and Hegde 2024, Accelerating Direct Preference Optimization with Prefix Sharing).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

# The label of a token that is not learned from, as in all of PyTorch.
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Shared:
    """What the model is asked instead, P rows for P different prompts, and where the answers are in it.

    `inputs` holds `input_ids` and `position_ids` of shape (P, L) and an `attention_mask` of shape
    (P, 1, L, L), true where a token may look. The N said tokens of the batch, row by row, are told by the
    tokens before them: `before_N` has their places in the flattened (P, L).
    """

    inputs: dict[str, torch.Tensor]
    before_N: torch.Tensor


def share(ids_B_T: torch.Tensor, present_B_T: torch.Tensor, labels_B_T: torch.Tensor) -> Shared:
    """Packs rows that are a prompt, an answer (what has a label) and padding on either side."""
    rows: dict[tuple[int, ...], _Row] = {}
    said: list[tuple[_Row, int]] = []
    for ids_T, present_T, said_T in zip(ids_B_T, present_B_T.bool(), labels_B_T != IGNORED, strict=True):
        prompt = tuple(ids_T[present_T & ~said_T].tolist())
        if prompt not in rows:
            rows[prompt] = _Row.of(len(rows), prompt)
        row = rows[prompt]
        said += [(row, place) for place in row.add(ids_T[said_T].tolist())]
    length = max(len(row.ids) for row in rows.values())

    def filled(parts: list[list[int]], filler: int) -> torch.Tensor:
        return torch.tensor([part + [filler] * (length - len(part)) for part in parts], device=ids_B_T.device)

    answer_P_L = filled([row.answers for row in rows.values()], -1)
    looks_P_L_L = (answer_P_L[:, None, :] == 0) | (answer_P_L[:, None, :] == answer_P_L[:, :, None])
    return Shared(
        inputs={
            "input_ids": filled([row.ids for row in rows.values()], 0),
            "position_ids": filled([row.positions for row in rows.values()], 0),
            "attention_mask": looks_P_L_L.tril()[:, None],
        },
        before_N=torch.tensor([row.number * length + place for row, place in said], device=ids_B_T.device),
    )


@dataclass(slots=True)
class _Row:
    """A prompt of so many tokens and the answers behind it, with two numbers for each token: the answer that
    it belongs to, the prompt's being 0, and its position."""

    number: int
    prompt: int
    ids: list[int]
    answers: list[int]
    positions: list[int]

    @classmethod
    def of(cls, number: int, prompt: tuple[int, ...]) -> _Row:
        return cls(number, len(prompt), list(prompt), [0] * len(prompt), list(range(len(prompt))))

    def add(self, answer: list[int]) -> list[int]:
        """Puts an answer behind the others; the place of the token before each of its tokens."""
        begin = len(self.ids)
        self.ids += answer
        self.answers += [self.answers[-1] + 1] * len(answer)
        self.positions += range(self.prompt, self.prompt + len(answer))
        return [self.prompt - 1, *range(begin, begin + len(answer) - 1)][: len(answer)]
