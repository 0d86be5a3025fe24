"""Which type the convolutions run in: that of the device that computes."""

import pytest
import tensorflow as tf

from inception_finetune.components.backbone import compute_dtype
from inception_finetune.components.backbone.compute_dtype import resolve_compute_dtype


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with these processor flags, and GPUs of these compute capabilities."""

    def make(flags: str, *capabilities: tuple[int, int] | None) -> str:
        (tmp_path / "cpuinfo").write_text(f"processor: 0\nflags\t\t: fpu {flags}\n", "utf-8")
        monkeypatch.setattr(compute_dtype, "_CPU_INFO", tmp_path / "cpuinfo")
        gpus = list(range(len(capabilities)))
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
        details = [{"compute_capability": one} if one else {} for one in capabilities]
        monkeypatch.setattr(tf.config.experimental, "get_device_details", details.__getitem__)
        return resolve_compute_dtype("auto")

    return make


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("avx2", "float32"), ("avx2 avx512_bf16", "bfloat16"), ("amx_bf16", "bfloat16")],
)
def test_without_a_gpu_the_processor_decides(machine, flags, expected):
    assert machine(flags) == expected


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ([(9, 0)], "bfloat16"),
        ([(8, 0), (8, 6)], "bfloat16"),
        ([(7, 5)], "float32"),
        ([(8, 0), (7, 0)], "float32"),
        ([None], "float32"),
    ],
)
def test_with_gpus_all_of_them_decide_and_not_the_processor(machine, capabilities, expected):
    assert machine("avx512_bf16", *capabilities) == expected


def test_what_is_asked_for_is_not_looked_up(machine):
    machine("avx2")
    assert resolve_compute_dtype("bfloat16") == "bfloat16"
