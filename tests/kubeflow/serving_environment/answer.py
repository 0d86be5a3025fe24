"""Downloads a model as KServe does, loads its newest version, and prints its answers as JSON."""

import json
import sys
from pathlib import Path

import tensorflow as tf
from kserve_storage import Storage


def main(uri: str, folder: str, *pictures: str) -> None:
    """Answers for pictures.

    Args:
      uri: the manifest's ``storageUri``.
      folder: receives the download.
      pictures: PNG or JPEG files.
    """
    Storage.download(uri, folder)
    versions = [path for path in Path(folder).iterdir() if path.name.isdigit()]
    newest = max(versions, key=lambda path: int(path.name))  # as TensorFlow Serving chooses
    model = tf.saved_model.load(str(newest))
    encoded = tf.constant([Path(picture).read_bytes() for picture in pictures])
    answers = model.signatures["predict_images"](images=encoded)
    told = {
        "tensorflow": tf.__version__,
        "folders": sorted(path.name for path in Path(folder).iterdir()),
        "label_names": [name.decode() for name in answers["label_name"].numpy()],
        "probabilities": answers["probabilities"].numpy().tolist(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
