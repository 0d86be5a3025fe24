"""Predictions as pictures of where the model looks: each image, and beside it its map."""

import base64
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from PIL import Image

from inception_finetune.components.errors import UserError
from inception_finetune.components.image.decoding_without_tensorflow import decode
from inception_finetune.components.image.heat_map import draw_over
from inception_finetune.components.io.explanations import Explanation, explain
from inception_finetune.components.io.marked_folder import scratch_folder
from inception_finetune.components.io.pushed_model import PushedModel
from inception_finetune.components.io.whole_file import require_writable, whole_file
from inception_finetune.components.shown_text import visible
from inception_finetune.components.web_page.environment import templates
from inception_finetune.pipeline.prediction.predict import Prediction, Summary

_PAGE: Final = ".html"
_SIDE: Final = 256  # pixels of the longer side of a picture that is drawn
_GAP: Final = 8  # pixels between it and its map
_STEM: Final = 60  # characters of a picture's name in that of its file


def is_page(target: Path) -> bool:
    """Returns whether explanations are to be written as a page, not as a folder of PNG files."""
    return target.suffix.lower() == _PAGE


@contextmanager
def explaining(
    target: Path, model: PushedModel, summary: Summary
) -> Iterator[Callable[[Sequence[Prediction]], None]]:
    """Draws where the model looks; `target` is there whole or not at all.

    Args:
      target: a page (``.html``) of what `summary` has kept, or a new folder that gets a PNG of
        each picture that can be read, named by its number among all pictures and by its own name.
      model: the model that was asked.
      summary: of all predictions, once the block has ended.

    Yields:
      What is to be called with each batch of predictions.

    Raises:
      UserError: the model does not say where it looks, or `target` is there or cannot be written.
    """
    explain(model.loaded, model.directory, [])  # refuses before anything is asked
    target = target.resolve()
    require_writable(target.parent)
    if is_page(target):
        yield lambda batch: None
        page = _page(summary, model)
        with whole_file(target) as temporary:
            temporary.write_text(page, "utf-8")
        return
    if target.exists():
        raise UserError(f"{target} is there already. Give another --explain, or remove it.")
    with scratch_folder(f".{target.name}-", target.parent) as scratch:
        fresh = scratch / "pictures"
        fresh.mkdir()
        number = 0

        def draw(batch: Sequence[Prediction]) -> None:
            nonlocal number
            with _named(target):
                for place, prediction, explanation in _explained(batch, model):
                    name = re.sub(r"[^\w.-]+", "_", Path(prediction.picture.name).stem)[:_STEM]
                    drawn = _beside(prediction, explanation)
                    drawn.save(fresh / f"{number + place + 1:06}-{name}.png")
            number += len(batch)

        yield draw
        with _named(target):
            fresh.rename(target)


@contextmanager
def _named(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"Cannot write {target}: {error}. Give another --explain.") from error


def _explained(
    predictions: Sequence[Prediction], model: PushedModel
) -> Iterator[tuple[int, Prediction, Explanation]]:
    """Yields the place of each that could be read, with its explanation."""
    read = [(place, one) for place, one in enumerate(predictions) if not one.error]
    found = explain(model.loaded, model.directory, [one.picture.encoded for _, one in read])
    for (place, prediction), explanation in zip(read, found, strict=True):
        if explanation is not None:
            yield place, prediction, explanation


def _beside(prediction: Prediction, explanation: Explanation) -> Image.Image:
    """The picture, and to its right the same in grey with the map over it."""
    picture = Image.fromarray(decode(prediction.picture.encoded))
    scale = _SIDE / max(picture.size)
    width, height = (max(round(side * scale), 1) for side in picture.size)
    way = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    picture = picture.resize((width, height), way)
    drawn = Image.new("RGB", (2 * width + _GAP, height), "white")
    drawn.paste(picture, (0, 0))
    drawn.paste(draw_over(picture, explanation.map, explanation.box), (width + _GAP, 0))
    return drawn


def _page(summary: Summary, model: PushedModel) -> str:
    """One HTML file that loads nothing."""
    shown = [
        _shown(prediction, explanation)
        for _, prediction, explanation in _explained(summary.kept, model)
    ]
    template = templates(__package__ or "").get_template("explained.html")
    return template.render(model=str(model.directory), summary=summary, shown=shown)


def _shown(prediction: Prediction, explanation: Explanation) -> dict[str, Any]:
    buffer = io.BytesIO()
    _beside(prediction, explanation).save(buffer, "PNG", optimize=True)
    return {
        "source": f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}",
        "name": visible(prediction.picture.name),
        "label": visible(explanation.label_name),
        "probability": explanation.probability,
        "truth": visible(prediction.picture.truth or ""),
        "wrong": prediction.right is False,
        "empty": not explanation.map.any(),
    }
