import pytest

from helpers.exporting import pictures, push_model


@pytest.fixture(scope="session")
def pushed(transform_output, tmp_path_factory):
    return push_model(transform_output, tmp_path_factory.mktemp("pushed") / "1")


@pytest.fixture(scope="session")
def exports(pushed, tmp_path_factory):
    """The folder of one file of each format."""
    import tensorflow as tf

    from helpers.exporting import LABELS
    from inception_finetune.components.export.formats import FORMATS
    from inception_finetune.components.export.metadata import ExportMetadata

    folder, loaded = tmp_path_factory.mktemp("exports"), tf.saved_model.load(str(pushed))
    for name, one in FORMATS.items():
        metadata = ExportMetadata(format=name, label_names=LABELS, fingerprint="5" * 64)
        one.convert(loaded, metadata, folder / one.file_name, pictures(30, 40, 50, seed=9))
    return folder
