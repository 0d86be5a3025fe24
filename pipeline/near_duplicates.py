"""Images of train and validation that show the same as one of test, found before a run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from pydantic import ValidationError

from inception_finetune.components import features
from inception_finetune.components.backbone import load, module
from inception_finetune.components.backbone.compute_dtype import resolve_compute_dtype
from inception_finetune.components.backbone.network import Backbone
from inception_finetune.components.data_check.measured import Measured, early_block, measure
from inception_finetune.components.data_check.near_duplicates import Pair, near_duplicates
from inception_finetune.components.data_check.neighbours import nearest_neighbours
from inception_finetune.components.dataset.manifest import Manifest
from inception_finetune.components.errors import UserError
from inception_finetune.components.io.whole_file import whole_file
from inception_finetune.components.progress import progress
from inception_finetune.components.settings import Section
from inception_finetune.pipeline.config import Config

FILE: Final = "near-duplicates.json"  # below the root


class _Found(Section):
    key: str  # of what was compared
    copies: dict[str, str]  # id of an image -> id of the test image that it shows


def copies_of_test(
    config: Config, records: Path, manifest: Manifest, directory: Path, backbone: Backbone
) -> dict[str, str]:
    """Finds images outside of test that show the same as a test image.

    The result is kept below the root: the same records, network and image settings are compared
    once.

    Args:
      config: says how images are cropped, resized and computed with.
      records: converted images.
      manifest: theirs.
      directory: of the backbone's module.
      backbone: its network's table.

    Returns:
      The id of a test image by the id of the image that shows the same.

    Raises:
      UserError: records or module are damaged, or the result cannot be written.
    """
    settings = [manifest.fingerprint, module.fingerprint(directory), config.image.model_dump_json()]
    key = hashlib.sha256("\0".join(settings).encode()).hexdigest()
    file = Path(config.root) / FILE
    if (known := _read(file)) and known.key == key:
        return known.copies
    block = early_block(backbone, config.image.size)
    chosen = np.ones(sum(manifest.counts.values()), bool)
    files = record_files(records, manifest)
    measured = measure_images(config, directory, backbone, files, [block], chosen)
    with progress("Comparing", len(measured.ids), "images") as advance:
        neighbours = nearest_neighbours(measured.features[block])
        pairs = near_duplicates(measured.grey, neighbours, advance)
    copies = _across_test(measured, pairs)
    with whole_file(file) as temporary:
        temporary.write_text(_Found(key=key, copies=copies).model_dump_json(indent=2), "utf-8")
    return copies


def refuse_copies(copies: Mapping[str, str]) -> None:
    """Refuses a data set with near-duplicates across test.

    Raises:
      UserError: there are some.
    """
    if copies:
        identity, of_test = next(iter(copies.items()))
        raise UserError(
            f"Images of train or validation show the same as images of {features.TEST} "
            f"({len(copies)} in all), such as {identity} and {of_test}: test accuracy would be "
            "overestimated. Look at them with `inception-finetune data check`, or set "
            "dataset.on_near_duplicate=skip to leave those outside of test out."
        )


def record_files(records: Path, manifest: Manifest) -> dict[str, list[Path]]:
    """Returns the files of converted images by split, in the order of the manifest."""
    return {
        split: [records / shard.file for shard in manifest.shards.get(split, ())]
        for split in features.SPLITS
    }


def measure_images(
    config: Config,
    directory: Path,
    backbone: Backbone,
    files: Mapping[str, Sequence[Path]],
    blocks: Sequence[str],
    chosen: npt.NDArray[np.bool_],
) -> Measured:
    """Measures images with the configured network, under a progress bar.

    Args:
      config: says how images are cropped, resized and computed with.
      directory: of the backbone's module.
      backbone: its network's table.
      files: of `record_files`.
      blocks: whose outputs are kept.
      chosen: ``[all]``, which images are looked at, in the order of the files.

    Raises:
      UserError: records or module are damaged.
    """
    loaded = load.load_backbone(directory, network=backbone.name, image_size=config.image.size)
    dtype = tf.as_dtype(resolve_compute_dtype(config.compute_dtype))
    with progress("Looking", int(chosen.sum()), "images") as advance:
        return measure(files, loaded, config.image, blocks, dtype, chosen, advance)


def _across_test(measured: Measured, pairs: Sequence[Pair]) -> dict[str, str]:
    """Names, for each image outside of test, the test image that it is most alike."""
    copies: dict[str, str] = {}
    for pair in pairs:  # most alike first
        is_test = [measured.splits[one] == features.TEST for one in (pair.first, pair.second)]
        if is_test[0] != is_test[1]:
            test, other = (pair.first, pair.second) if is_test[0] else (pair.second, pair.first)
            copies.setdefault(measured.ids[other], measured.ids[test])
    return copies


def _read(file: Path) -> _Found | None:
    try:
        return _Found.model_validate_json(file.read_text("utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None  # none yet, or another version's: it is looked for again
