"""All of the answers that `predict` would write, as a list."""

from collections.abc import Iterable
from pathlib import Path

from inception_finetune.pipeline.prediction.addresses import find_pictures
from inception_finetune.pipeline.prediction.model import PushedModel
from inception_finetune.pipeline.prediction.pictures import read_pictures
from inception_finetune.pipeline.prediction.predict import Prediction, predict


def predictions(directory: Path, places: Iterable[Path | str]) -> list[Prediction]:
    model = PushedModel(directory)
    pictures = read_pictures(find_pictures(places), model.label_names)
    return [one for batch in predict(model, pictures) for one in batch]
