"""Reads the served folder as TensorFlow Serving does: each folder with a number is a version."""

import hashlib
import threading
import time
from pathlib import Path

_PAUSE, _AGAIN = 0.005, 1.0  # seconds between two listings, and until the known are read again
_NEWEST = 3  # of the known; at the end all are


class Reader(threading.Thread):
    """Lists the folder all the time and reads each version as soon as it is there, then again."""

    def __init__(self, serving: Path) -> None:
        super().__init__(daemon=True)
        self._serving = serving
        self._done = threading.Event()
        self.listings = 0
        self.seen: dict[str, str] = {}  # the hash of each version, as it was seen first
        self.changed: set[str] = set()

    def run(self) -> None:
        again = time.monotonic() + _AGAIN
        while not self._done.wait(_PAUSE):
            self.listings += 1
            for name in sorted(numbered(self._serving) - self.seen.keys()):
                self.seen[name] = digest(self._serving / name)
            if time.monotonic() > again:
                self._compare(sorted(self.seen, key=int)[-_NEWEST:])
                again = time.monotonic() + _AGAIN

    def stop(self) -> list[str]:
        """What was wrong with what it saw, by version.

        A version that is whole now, and is what it was when it was seen first, was whole then.
        """
        self._done.set()
        self.join()
        self._compare(self.seen)
        wrong = [f"{name}: changed" for name in sorted(self.changed)]
        return wrong + unreadable(self._serving, set(self.seen))

    def _compare(self, names) -> None:
        for name in names:
            if digest(self._serving / name) != self.seen[name]:
                self.changed.add(name)


def numbered(serving: Path) -> set[str]:
    """The versions that are there."""
    folders = serving.iterdir() if serving.exists() else ()
    return {folder.name for folder in folders if folder.name.isdecimal()}


def digest(folder: Path) -> str:
    """sha256 of the names and bytes of all files; "gone" if they vanish meanwhile."""
    content = hashlib.sha256()
    try:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            content.update(f"{path.relative_to(folder)}\0".encode())
            content.update(path.read_bytes())
    except FileNotFoundError:
        return "gone"
    return content.hexdigest()


def unreadable(serving: Path, names: set[str]) -> list[str]:
    """Which of these versions do not load and answer."""
    import tensorflow as tf

    wrong = []
    for name in sorted(names):
        try:
            model = tf.saved_model.load(str(serving / name))
            answer = model.signatures["predict_images"](images=tf.constant([b"no picture"]))
            assert answer["label_id"].numpy().tolist() == [-1]
        except Exception as error:  # whatever it is, the version is not whole
            wrong.append(f"{name}: {error}")
    return wrong
