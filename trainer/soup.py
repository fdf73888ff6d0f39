"""The mean of adapters that learned the same rows from other starts: a model soup (Wortsman et al. 2022).

Where a training ends is much by chance: its first weights, and the order of its rows. The mean of several
keeps what they agree on. It is one adapter of the same rank, so answers cost what they did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

Weights = Mapping[str, torch.Tensor]


def mean(adapters_K: Sequence[Weights]) -> dict[str, torch.Tensor]:
    """The adapter whose change to every layer is nearest to the mean of the adapters' changes.

    An adapter has, for each layer, `….lora_A.weight` [R, in] and `….lora_B.weight` [out, R]; it adds their
    product. The mean of K products has rank K · R: the best of rank R is cut from it (Eckart and Young 1936),
    by small matrices alone. The mean of the factors themselves would be another, meaningless adapter.
    """
    (first, *others) = adapters_K
    if not others:
        return dict(first)
    found: dict[str, torch.Tensor] = {}
    for name_A in (name for name in first if ".lora_A." in name):
        name_B = name_A.replace(".lora_A.", ".lora_B.")
        rank = len(first[name_A])
        left, inner_left = torch.linalg.qr(torch.cat([one[name_B] for one in adapters_K], dim=1))
        right, inner_right = torch.linalg.qr(torch.cat([one[name_A] for one in adapters_K]).T)
        turned, strength, back = torch.linalg.svd(inner_left @ inner_right.T / len(adapters_K))
        root = strength[:rank].sqrt()
        found[name_B] = (left @ turned[:, :rank] * root).contiguous()
        found[name_A] = (root[:, None] * back[:rank] @ right.T).contiguous()
    return found
