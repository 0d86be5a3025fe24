"""Workers in this process report how far a step is; those elsewhere are not waited for."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from inception_finetune.components.beam import watched as watched_module
from inception_finetune.components.beam.watched import advance, expect, watched
from inception_finetune.pipeline.beam_options import Beam, pipeline_arguments


def _work(number: int) -> int:
    advance(10)
    return number


def _run(**settings) -> None:
    pipeline = beam.Pipeline(options=PipelineOptions(pipeline_arguments(Beam(**settings))))
    with watched(pipeline, "Working", "images"), pipeline as root:
        _ = (
            root
            | beam.Create([30])
            | "Expect" >> beam.Map(expect)
            | beam.FlatMap(lambda _: range(3))
            | beam.Map(_work)
        )


def test_a_pipeline_in_this_process_is_shown(capsys):
    _run()
    assert capsys.readouterr().err.startswith("Working: 30 images in ")
    assert watched_module._watch.expected == 30


def test_one_in_other_processes_is_not(capsys):
    pipeline = beam.Pipeline(
        options=PipelineOptions(pipeline_arguments(Beam(running_mode="multi_processing")))
    )
    with watched(pipeline, "Working", "images"):
        advance(10)
    assert capsys.readouterr().err == ""


def test_nothing_is_shown_of_what_failed_or_runs_outside(capsys):
    pipeline = beam.Pipeline(options=PipelineOptions(pipeline_arguments(Beam())))
    with pytest.raises(RuntimeError), watched(pipeline, "Working", "images"):
        raise RuntimeError
    advance(10)
    assert capsys.readouterr().err == ""
