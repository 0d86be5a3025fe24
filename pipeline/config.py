"""The one configuration object: frozen, validated, made from a preset, a file and overrides.

Knows neither TensorFlow nor TFX, so that the command line and a cluster's submitter can use it
at no cost.
"""

import difflib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import Field, ValidationError, model_validator

from inception_finetune.components.backbone.compute_dtype import ComputeDtype
from inception_finetune.components.backbone.network import ALL, HEAD, Backbone, explained_block
from inception_finetune.components.backbone.networks import AUTO, NETWORKS
from inception_finetune.components.backbone.settings import BackboneSection, require_block
from inception_finetune.components.dataset.settings import Dataset
from inception_finetune.components.drift.settings import Drift, Watch
from inception_finetune.components.errors import UserError
from inception_finetune.components.evaluation.metrics import SET_COVERAGE
from inception_finetune.components.evaluation.settings import Gate
from inception_finetune.components.export.settings import ExportSection
from inception_finetune.components.image.settings import Image
from inception_finetune.components.infra_validator.settings import InfraSection
from inception_finetune.components.model_report.settings import Report
from inception_finetune.components.settings import Section
from inception_finetune.pipeline.beam_options import Beam
from inception_finetune.pipeline.kubeflow_settings import Kubeflow
from inception_finetune.pipeline.settings_text import parse, parse_override, shown
from inception_finetune.trainer.settings import (
    ConfidenceSection,
    ExplainSection,
    TrainingSection,
    Tuning,
)

PRESETS = resources.files(__package__).joinpath("presets")
_NAMED = 10  # problems in a message
_LONGEST = 200  # characters of PyYAML's own words


class Config(Section):
    """Everything that a run depends on, and where and how it runs."""

    name: str = Field("inception-finetune", pattern="^[a-z0-9][a-z0-9-]{0,62}$")
    root: str = "build/pipeline"  # artifacts, metadata and the pushed model live below it
    cache: str = "build/cache"  # downloads and backbones, shared by pipelines
    runner: Literal["local", "beam"] = "local"  # TFX's LocalDagRunner or BeamDagRunner
    beam: Beam = Beam()  # what runs the data-parallel steps: this process or a cluster
    dataset: Dataset = Dataset()
    image: Image = Image()
    backbone: BackboneSection = BackboneSection()
    training: TrainingSection = TrainingSection()
    tuning: Tuning = Tuning()
    confidence: ConfidenceSection = ConfidenceSection()
    explain: ExplainSection = ExplainSection()
    gate: Gate = Gate()
    infra: InfraSection = InfraSection()
    export: ExportSection = ExportSection()
    drift: Drift = Drift()
    watch: Watch = Watch()
    report: Report = Report()
    kubeflow: Kubeflow = Kubeflow()
    # Whether the frozen trunk runs once for each image, its output stored, and not at each step.
    feature_cache: bool = True
    # Of the convolutions; "auto" is bfloat16 where the device multiplies it, else float32.
    compute_dtype: ComputeDtype = "auto"

    @model_validator(mode="after")
    def _fits_the_network(self) -> "Config":
        if self.backbone.network != AUTO:
            self.require_fit(NETWORKS[self.backbone.network])
        return self

    def require_fit(self, backbone: Backbone) -> None:
        """Raises ValueError: the network has no such blocks, or needs larger images."""
        if self.image.size < backbone.smallest_size:
            raise ValueError(
                f"image.size must be at least {backbone.smallest_size} for {backbone.name}, "
                f"here it is {self.image.size}"
            )
        first = self.backbone.trainable_from
        require_block(backbone, first)
        if self.explain.block is not None:
            explained_block(backbone, self.image.size, self.explain.block)
        allowed = backbone.trainable_after(first)
        if wrong := [block for block in self.tuning.trainable_from if block not in allowed]:
            raise ValueError(
                f"tuning.trainable_from must name blocks from backbone.trainable_from={first} on "
                f"({', '.join(allowed)}), here it names {', '.join(wrong)}"
            )

    @model_validator(mode="after")
    def _only_positions_are_cut(self) -> "Config":
        if self.training.cutmix and self.feature_cache and self.backbone.trainable_from == HEAD:
            raise ValueError(
                "training.cutmix must be 0 where backbone.trainable_from is head: what is stored "
                "for each image is one vector, of which nothing can be cut. Use training.mixup"
            )
        return self

    @model_validator(mode="after")
    def _only_sets_that_are_made_are_bounded(self) -> "Config":
        if SET_COVERAGE in self.gate.bounds and self.confidence.coverage is None:
            raise ValueError(
                f"gate.bounds.{SET_COVERAGE} needs confidence.coverage, without which there are no "
                "prediction sets"
            )
        return self

    @model_validator(mode="after")
    def _only_a_trunk_is_cached(self) -> "Config":
        if self.feature_cache and self.backbone.trainable_from == ALL:
            raise ValueError(
                "feature_cache must be false where backbone.trainable_from is all: "
                "nothing is frozen, so there is nothing to store"
            )
        return self


def preset_names() -> list[str]:
    """Of the files in ``presets/``, sorted."""
    files = PRESETS.iterdir()
    return sorted(Path(file.name).stem for file in files if file.name.endswith(".yaml"))


def load_config(source: str | None = None, overrides: Iterable[str] = ()) -> Config:
    """Builds the configuration: defaults, then a preset or file, then ``key=value`` overrides.

    Args:
      source: a preset's name or the path of a YAML file, which may begin with ``extends: PRESET``.
      overrides: dotted keys, values in YAML, such as ``training.epochs=3``.

    Raises:
      UserError: the file cannot be read, a key is unknown, or a value is out of its range.
    """
    values = _read(source) if source else {}
    for override in overrides:
        values = _merged(values, _parse_override(override))
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(_explain(error, source)) from None


def _read(source: str) -> dict[str, Any]:
    if source in preset_names():
        text = PRESETS.joinpath(f"{source}.yaml").read_text("utf-8")
    else:
        try:
            text = Path(source).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"--config {source!r} is neither a preset nor a readable file "
                f"({getattr(error, 'strerror', None) or error}). "
                f"Give a YAML file or one of {', '.join(preset_names())}."
            ) from None
    try:
        values = parse(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        problem = str(getattr(error, "problem", None) or getattr(error, "reason", "damaged"))
        raise UserError(
            f"Config {source}{line} is not plain YAML: {problem[:_LONGEST]}. Correct it."
        ) from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise UserError(
            f"Config {source} holds a {type(values).__name__}, not a mapping of keys. "
            "Write sections and keys, such as `training: {epochs: 3}`."
        )
    base = values.pop("extends", None)
    if base is None:
        return values
    if base not in preset_names():
        raise UserError(
            f"Preset {shown(base)} of extends in config {source} is unknown. "
            f"Name one of {', '.join(preset_names())}."
        )
    return _merged(_read(base), values)


def _parse_override(override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not all(part.isidentifier() for part in key.split(".")):
        raise UserError(
            f"Override {override!r} on the command line is not key=value. "
            "Write it as in training.epochs=3."
        )
    nested = parse_override(text)
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return nested


def _merged(base: Mapping[str, Any], delta: Mapping[str, Any]) -> dict[str, Any]:
    """Changes neither of them: an alias puts one mapping in several places."""
    merged = dict(base)
    for key, value in delta.items():
        known = merged.get(key)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            value = _merged(known, value)
        merged[key] = value
    return merged


def _explain(error: ValidationError, source: str | None) -> str:
    problems = []
    for problem in error.errors()[:_NAMED]:
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            problems.append(_unknown_key(key))
        else:
            rule = problem["msg"].removeprefix("Value error, ")
            # A rule about several keys says itself what it received.
            several = isinstance(problem["input"], Mapping)
            received = "" if several else f". Received: {shown(problem['input'])}"
            problems.append(f"{key}: {rule}{received}".removeprefix(": "))
    if (more := error.error_count() - _NAMED) > 0:
        problems.append(f"and {more} more")
    where = f" (config {source}, then the command line)" if source else " (command line)"
    return "; ".join(problems) + where


def _unknown_key(key: str) -> str:
    *sections, last = key.split(".")
    model: Any = Config
    for section in sections:
        # In a mapping, such as kubeflow.tasks, the names are the user's and the values sections.
        mapping = get_origin(model) is dict
        model = get_args(model)[1] if mapping else model.model_fields[section].annotation
    known = list(model.model_fields)
    close = difflib.get_close_matches(last, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known keys there: {', '.join(known)}"
    return f"unknown key {key}; {hint}"
