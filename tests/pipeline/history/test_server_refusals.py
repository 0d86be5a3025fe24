"""What InfraValidator refused is no baseline, and is checked again."""

from ml_metadata.proto import metadata_store_pb2 as proto

from helpers.made_pipeline import MadePipeline
from inception_finetune.pipeline.config import load_config
from inception_finetune.pipeline.history.server_refusals import find_refused_models, forget_refusals


def check(made: MadePipeline, name: str, model: int, *, blessed: bool) -> None:
    if "InfraBlessing" not in made.types:
        kind = proto.ArtifactType(name="InfraBlessing")
        made.types["InfraBlessing"] = made.store.put_artifact_type(kind)
    made.artifact("InfraBlessing", name, blessed=blessed, current_model_id=model)


def test_a_model_is_refused_that_no_check_has_blessed(tmp_path):
    """One that was pushed and is then held to narrower bounds still serves."""
    made = MadePipeline(tmp_path / "root")
    assert find_refused_models(made.store) == set()  # no check was ever made
    one, two, three = (made.run(name, blessed=True) for name in ("a", "b", "c"))
    made.run("never checked", blessed=True)
    check(made, "1", one, blessed=True)
    check(made, "5", one, blessed=False)
    check(made, "2", two, blessed=False)
    check(made, "3", three, blessed=False)
    check(made, "4", three, blessed=True)
    assert find_refused_models(made.store) == {two}


def test_refusals_are_not_reused_and_stay_known(tmp_path):
    made = MadePipeline(tmp_path / "root")
    model = made.run("a", blessed=True)
    check(made, "good", made.run("b", blessed=True), blessed=True)
    check(made, "bad", model, blessed=False)
    forget_refusals(load_config("digits", [f"root={made.root}"]))
    states = made.states()
    assert states["InfraBlessing good"] == proto.Artifact.LIVE
    assert states["InfraBlessing bad"] == proto.Artifact.DELETED  # TFX does not take it again
    assert find_refused_models(made.store) == {model}


def test_a_root_without_metadata_has_nothing_to_forget(tmp_path):
    forget_refusals(load_config("digits", [f"root={tmp_path / 'none'}"]))
    assert not (tmp_path / "none").exists()
