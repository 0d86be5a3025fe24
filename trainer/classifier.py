"""The classifier that settings ask for, untrained."""

from pathlib import Path

from components.backbone.load import load_backbone
from trainer import model
from trainer.settings import TrainerSettings
from trainer.small_cnn import build_small_cnn


def make_classifier(settings: TrainerSettings) -> model.Classifier:
    """With the backbone's weights where there is one.

    Raises:
      UserError: the backbone on disk is not the one that was configured.
    """
    training = settings.training
    if settings.backbone_directory:
        network = load_backbone(
            Path(settings.backbone_directory),
            image_size=settings.image_size,
            batch_norm_momentum=training.batch_norm_momentum,
            expected_fingerprint=settings.backbone_fingerprint,
        ).network
    else:
        network = build_small_cnn(settings.image_size, training.seed)
    return model.build_classifier(
        network,
        settings.trainable_from,
        cut_before=settings.cut_before,
        classes=len(settings.label_names),
        fresh=settings.fresh,
        training=training,
    )
