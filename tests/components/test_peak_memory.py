"""The peak is that of the work asked about, not of what ran before it."""

import numpy as np

from inception_finetune.components.peak_memory import begin_peak, peak_bytes


def test_the_peak_forgets_what_was_before_and_sees_what_is_freed_again():
    before = np.ones(50_000_000)  # 400 MB
    del before
    begin_peak()
    start = peak_bytes()
    during = np.ones(25_000_000)  # 200 MB
    del during
    assert 190e6 < peak_bytes() - start < 250e6
