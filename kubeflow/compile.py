"""The pipeline as a package for Kubeflow Pipelines or Vertex AI."""

from pathlib import Path

from pipeline.config import Config


def compile_pipeline(config: Config, output: Path) -> None:
    raise NotImplementedError
