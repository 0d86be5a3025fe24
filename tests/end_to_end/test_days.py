"""Two days of a window: what is new is computed, and the training goes on from what serves."""

import json

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2

from helpers.colour_pictures import write_colours
from inception_finetune.components import features


@pytest.mark.e2e
def test_a_day_costs_its_own_pictures_and_starts_from_the_day_before(tmp_path, capfd):
    from inception_finetune.pipeline import local
    from inception_finetune.pipeline.config import load_config

    pictures = tmp_path / "pictures"
    write_colours(tmp_path / "golden", 9, 8, "cat", "dog", "owl")
    for day in (1, 2):
        write_colours(pictures / f"2026-11-0{day}", day, 30, "cat", "dog")

    def run():
        capfd.readouterr()
        config = load_config(
            "scratch_cnn",
            [
                *(f"root={tmp_path}/root", f"cache={tmp_path}/cache"),
                f"dataset.spans={pictures}/{{YYYY}}-{{MM}}-{{DD}}",
                *(f"dataset.golden={tmp_path}/golden", "dataset.window=2"),
                *("image.size=32", "backbone.trainable_from=Dense_3", "feature_cache=true"),
                *("training.epochs=2", "training.batch_size=8", "training.start_from=blessed"),
                "gate.min_accuracy=0",
            ],
        )
        outcome = local.run(config)
        return outcome, capfd.readouterr().err

    first, said = run()
    assert "window of 2 of 2 spans, 2026-11-01 to 2026-11-02, 120 pictures" in said
    assert "8 test pictures of classes that no span of the window has are left out: owl" in said
    assert first.blessed and "taken from an earlier run" not in said

    write_colours(pictures / "2026-11-03", 3, 30, "cat", "dog", "owl")
    second, said = run()
    assert "span 2026-11-03: 90 pictures read" in said and said.count("pictures read") == 1
    assert "trunk features: 90 images computed, 60 taken from an earlier run" in said
    assert "classes 2 kept, 1 new (owl)" in said
    assert second.blessed and second.metrics["accuracy"] > 0.3

    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = f"{tmp_path}/root/metadata.sqlite"
    store = mlmd.MetadataStore(connection)
    windows = [
        json.loads(artifact.custom_properties["spans"].string_value)
        for artifact in store.get_artifacts_by_type("Examples")
        if "spans" in artifact.custom_properties
    ]
    assert windows == [
        {"2026-11-01": 60, "2026-11-02": 60},
        {"2026-11-02": 60, "2026-11-03": 90},
    ]
    [start] = [
        event
        for event in store.get_events_by_artifact_ids(
            [model.id for model in store.get_artifacts_by_type("Model")]
        )
        if event.type == metadata_store_pb2.Event.INPUT and event.path.steps[0].key == "base_model"
    ]
    assert str(start.artifact_id) and first.pushed.parent == second.pushed.parent
    reports = (tmp_path / "root/artifacts/ModelReport/model_report").iterdir()
    newest = max(reports, key=lambda path: int(path.name))
    facts = json.loads((newest / "facts.json").read_text())
    assert facts["lineage"]["spans"] == windows[1]
    manifest = json.loads((tmp_path / "root/records/manifest.json").read_text())
    assert facts["lineage"]["dataset_fingerprint"] == manifest["fingerprint"]
    assert facts["start"]["added"] == ["owl"]
    [trunk] = [step for step in facts["steps"] if step["name"] == "TrunkFeatures"]
    assert trunk["images"] == 90
    assert "2 spans, 2026-11-02 to 2026-11-03" in (newest / "model_card.md").read_text()
    counts = {split: found["images"] for split, found in facts["data"]["splits"].items()}
    assert counts[features.TRAIN] + counts[features.VALIDATION] == 150
    assert counts[features.TEST] == 24

    again, said = run()
    assert {step.name for step in again.steps if not step.cached} == {"warm_start", "baseline"}
