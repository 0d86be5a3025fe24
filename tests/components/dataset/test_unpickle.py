"""Small pickles that would take hours or the stack are refused before they are loaded."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from inception_finetune.components.dataset.unpickle import load_dictionary
from inception_finetune.components.errors import UserError

START, END = b"\x80\x02}", b"K\x01s."  # a dictionary, and its only value
SAME_HASH = (1 << 61) - 1
DOUBLED = b"".join(b"0h%ch%c\x86q%c" % (place, place, place + 1) for place in range(64))
HOSTILE = {
    "doubled": (b")" + b"2\x86" * 64, "has a value twice"),
    "doubled by the memo": (b")q\x00" + DOUBLED, "has a value twice"),
    "put with something above": (b")N0q\x00h\x00" + b"\x86", "has a value twice"),
    "put behind a list that is none": (b")(eq\x00h\x00" + b"\x86", "has a value twice"),
    "memoized": (b")\x94h\x00" + b"\x86", "has a value twice"),
    "deep": (b")" + b"\x85" * 1_000_000, "more than 1,000 tuples"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_key_that_cannot_be_hashed_in_time_is_refused(kind):
    """In a process of its own, which can be ended: neither Ctrl-C nor an exception does that."""
    key, reason = HOSTILE[kind]
    program = (
        "import sys\n"
        "from inception_finetune.components.dataset.unpickle import load_dictionary\n"
        "load_dictionary(sys.stdin.buffer.read())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=START + key + END, capture_output=True, timeout=60
    )
    assert reason in done.stderr.decode().splitlines()[-1]


def test_numbers_that_have_one_hash_are_refused():
    colliding = {number * SAME_HASH: 0 for number in range(2000)}
    with pytest.raises(UserError, match="more than 1,000 numbers of 2"):
        load_dictionary(pickle.dumps(colliding, 2))


@pytest.mark.parametrize("protocol", range(5))
def test_what_writers_of_arrays_do_is_read(protocol):
    """Long bytes stand between frames, and types and text are used again."""
    names = ["a.png", "b.png"] * 20
    content = {
        "data": np.arange(90_000, dtype=np.uint8),
        "more": np.ones([3, 4], np.uint8),
        "labels": np.arange(40),
        "names": names,
        "same": names,
        "shape": (3, 4),
    }
    found = load_dictionary(pickle.dumps(content, protocol))
    assert found.keys() == content.keys()
    for key, value in content.items():
        same = found[key]
        if protocol < 3 and key in ("names", "same"):
            same = [one if isinstance(one, str) else one.decode() for one in same]
        np.testing.assert_array_equal(same, value)
