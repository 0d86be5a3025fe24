"""Pictures to ask a pushed model about, and its answers as `predict` would write them."""

from collections.abc import Iterable
from pathlib import Path

from inception_finetune.components.io.pushed_model import PushedModel
from inception_finetune.pipeline.prediction.addresses import find_pictures
from inception_finetune.pipeline.prediction.pictures import read_pictures
from inception_finetune.pipeline.prediction.predict import Prediction, predict


def predictions(directory: Path, places: Iterable[Path | str]) -> list[Prediction]:
    model = PushedModel(directory)
    pictures = read_pictures(find_pictures(places), model.label_names)
    return [one for batch in predict(model, pictures) for one in batch]


def digit_pictures(folder: Path) -> list[Path]:
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    paths = []
    for number, image in enumerate(load_digits().images[:20]):
        paths.append(folder / f"{number}.png")
        Image.fromarray((image * 255 / 16).astype(np.uint8)).convert("RGB").save(paths[-1])
    return paths
