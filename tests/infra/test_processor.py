"""What a processor says of itself."""

from __future__ import annotations

from infra.processor import computes_bfloat16, read


def test_the_processors_features_are_read() -> None:
    assert read(["processor : 0", "flags\t\t: fpu avx2 amx_bf16", "flags : other"]) == {
        "fpu", "avx2", "amx_bf16",
    }  # fmt: skip
    assert read(["Features\t: fp asimd bf16"]) == {"fp", "asimd", "bf16"}
    assert read([]) == frozenset()


def test_bfloat16_is_used_where_it_is_computed() -> None:
    assert computes_bfloat16(frozenset({"avx2", "avx512_bf16"}))
    assert not computes_bfloat16(frozenset({"avx2", "avx512f"}))
