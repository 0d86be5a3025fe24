"""``python -m inception_finetune`` is the command ``inception-finetune``."""

from inception_finetune.pipeline.cli.main import main

main()
