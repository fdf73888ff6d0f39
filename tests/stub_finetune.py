"""A stand-in for fine-tuning, under the same contract: `order.json` and `rows.jsonl` in, `adapter/` and
`trained.json` out. Its adapter tells the stub engine how good to be.

    python tests/stub_finetune.py QUALITY FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

if __name__ == "__main__":  # started as a file: the folder above holds the packages
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import stub_answers

COLUMNS = {
    "sft": {"prompt", "completion", "weight"},
    "dpo": {"prompt", "chosen", "rejected", "weight"},
    "grpo": {"prompt", "query", "facts"},
}


def main(quality: float, folder: Path) -> None:
    """Writes an adapter that depends on the rows, so that each night's has a name of its own."""
    order = json.loads((folder / "order.json").read_text())
    rows = (folder / "rows.jsonl").read_text().splitlines()
    assert all(json.loads(row).keys() == COLUMNS[order["method"]] for row in rows)
    adapter = folder / "adapter"
    adapter.mkdir(exist_ok=True)
    rng = np.random.default_rng(len(rows))
    save_file(
        {f"layer.lora_{part}.weight": rng.standard_normal((8, 8)).astype(np.float32) for part in "AB"},
        adapter / "adapter_model.safetensors",
    )
    (adapter / "adapter_config.json").write_text(json.dumps({"r": order["rank"]}))
    (adapter / "stub.json").write_text(json.dumps({"quality": quality}))
    measured = {"rows": len(rows), "steps": 1, "tokens": 10 * len(rows), "seconds": 0.1}
    losses = {"first_loss": 1.0, "loss": 0.5, "base_hash": "0" * 64, "measures": {}}
    probe = {"probe": stub_answers.probe(adapter)}
    (folder / "trained.json").write_text(json.dumps(measured | losses | probe))


if __name__ == "__main__":
    main(float(sys.argv[1]), Path(sys.argv[2]))
