"""What TestPredictions is given besides its input artifacts."""

from pydantic import Field

from inception_finetune.components.settings import Section


class PredictionSettings(Section):
    """The parameter `settings` of TestPredictions, as JSON."""

    signature: str  # of the exported model
    batch_size: int = Field(ge=1)  # images in one call of it; the model bounds its own memory
    code_fingerprint: str  # sha256 of the code that predicts
