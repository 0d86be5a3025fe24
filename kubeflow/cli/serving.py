"""``inception-finetune kubeflow serving-manifest`` and ``serving-request``."""

from pathlib import Path
from typing import Annotated

import typer

from inception_finetune.pipeline.cli.options import ConfigOption, Overrides, load

app = typer.Typer()


@app.command("serving-manifest")
def serving_manifest(
    overrides: Overrides = None,
    config: ConfigOption = "digits",
    kind: Annotated[str, typer.Option(help="kserve, or tf-serving by itself.")] = "kserve",
    model: Annotated[
        str | None,
        typer.Option(help="Folder of the pushed versions; default: below kubeflow.storage."),
    ] = None,
    service_account: Annotated[
        str | None, typer.Option(help="The Kubernetes service account that may read the model.")
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(help="Number of the version pushed last: another one is a new revision."),
    ] = None,
    canary_percent: Annotated[
        int | None,
        typer.Option(min=0, max=100, help="Of the requests, for the new revision alone."),
    ] = None,
):
    """Print the manifest that serves the pushed model, for `kubectl apply -f -`."""
    settings = load(config, overrides)
    from inception_finetune.components.errors import UserError
    from inception_finetune.kubeflow.serving import Kind, manifest

    if kind not in list(Kind):
        raise UserError(f"Unknown --kind {kind}. Give one of {', '.join(Kind)}.")
    text = manifest(
        settings,
        Kind(kind),
        model=model,
        service_account=service_account,
        version=version,
        canary_percent=canary_percent,
    )
    print(text, end="")


@app.command("serving-request")
def serving_request(
    images: Annotated[list[Path], typer.Argument(help="PNG or JPEG files of any size.")],
    columns: Annotated[
        bool, typer.Option("--columns", help="All pictures in one tensor, answers as well.")
    ] = False,
):
    """Print the JSON that asks a served model about pictures, for `curl --data @-`."""
    from inception_finetune.kubeflow.serving import predict_request

    print(predict_request(images, columns=columns))
