"""``inception-finetune kubeflow submit``, ``status`` and ``list``."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from inception_finetune.kubeflow.connection import (
    CertificateOption,
    HostOption,
    IapOption,
    NamespaceOption,
    TokenFileOption,
    TokenOption,
    connection,
)
from inception_finetune.pipeline.cli.options import REFUSED, ConfigOption, load, load_tensorflow

app = typer.Typer()


@app.command()
def submit(
    parameters: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Values of the package's parameters."),
    ] = None,
    config: ConfigOption = "digits",
    package: Annotated[
        Path | None, typer.Option(help="A compiled package; default: compile --config.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Groups runs; default: the pipeline's name.")
    ] = None,
    run_name: Annotated[
        str | None, typer.Option(help="Default: the pipeline and the time.")
    ] = None,
    pipeline_root: Annotated[
        str | None, typer.Option(help="Where this run's artifacts go, such as gs://bucket/path.")
    ] = None,
    service_account: Annotated[
        str | None, typer.Option(help="The Kubernetes service account of the run's pods.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the run; exit with 3 if it was not blessed.")
    ] = False,
    host: HostOption = None,
    namespace: NamespaceOption = None,
    token: TokenOption = None,
    token_file: TokenFileOption = None,
    iap_client_id: IapOption = None,
    ca_cert: CertificateOption = None,
):
    """Upload the pipeline if it is new, and start a run. Print the run's address."""
    reach = connection(host, namespace, token, token_file, iap_client_id, ca_cert)
    with TemporaryDirectory() as temporary:
        path = package or _compiled(config, Path(temporary))
        from inception_finetune.kubeflow import runs
        from inception_finetune.kubeflow.client import connect
        from inception_finetune.kubeflow.package import parse_parameters, read_package, task_names
        from inception_finetune.kubeflow.submit import submit as start

        read = read_package(path)
        values = parse_parameters(read, parameters or ())
        client = connect(reach)
        run = start(
            client,
            read,
            values,
            namespace=namespace,
            experiment=experiment,
            run_name=run_name,
            pipeline_root=pipeline_root,
            service_account=service_account,
        )
    link = reach.run_link(run.run_id)
    print(link)
    if wait:
        _end(runs.follow(client, run.run_id, task_names(read.spec), link), link)


@app.command()
def status(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The run's id, the end of its address.")
    ],
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the run; exit with 3 if it was not blessed.")
    ] = False,
    host: HostOption = None,
    namespace: NamespaceOption = None,
    token: TokenOption = None,
    token_file: TokenFileOption = None,
    iap_client_id: IapOption = None,
    ca_cert: CertificateOption = None,
):
    """Show a run's tasks, or follow it to its end."""
    reach = connection(host, namespace, token, token_file, iap_client_id, ca_cert)
    from inception_finetune.kubeflow import runs
    from inception_finetune.kubeflow.client import connect

    client = connect(reach)
    link = reach.run_link(run)
    found = client.get_run(run)
    if wait:
        _end(runs.follow(client, run, runs.names_of_tasks(client, found), link), link)
    else:
        runs.print_status(client, found, link, Console())


@app.command("list")
def list_runs(
    experiment: Annotated[
        str | None, typer.Option(help="Of this experiment; default: of all.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=200, help="How many, the newest first.")] = 20,
    host: HostOption = None,
    namespace: NamespaceOption = None,
    token: TokenOption = None,
    token_file: TokenFileOption = None,
    iap_client_id: IapOption = None,
    ca_cert: CertificateOption = None,
):
    """List the newest runs."""
    reach = connection(host, namespace, token, token_file, iap_client_id, ca_cert)
    from inception_finetune.kubeflow import runs
    from inception_finetune.kubeflow.client import connect

    newest = runs.newest_runs(connect(reach), namespace, experiment, count)
    runs.print_runs(newest, Console())


def _compiled(config: str, directory: Path) -> Path:
    settings = load(config, None)
    load_tensorflow(verbose=False)
    from inception_finetune.kubeflow.compile import compile_pipeline

    path = directory / "pipeline.yaml"
    compile_pipeline(settings, path)
    return path


def _end(pushed: bool, link: str) -> None:
    if not pushed:
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"[bold red]not blessed, not pushed:[/] Evaluator says why, at {link}"
        )
        raise typer.Exit(REFUSED)
