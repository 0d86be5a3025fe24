"""Address, namespace and credentials of Kubeflow Pipelines' API. None of it is ever stored."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr

from inception_finetune.components.errors import UserError
from inception_finetune.components.settings import Section

# The names that KFP's own command line reads, so that one environment serves both.
HOST_VARIABLE = "KFP_ENDPOINT"
NAMESPACE_VARIABLE = "KFP_NAMESPACE"
TOKEN_VARIABLE = "KFP_EXISTING_TOKEN"  # noqa: S105 - a variable's name
TOKEN_FILE_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105
IAP_VARIABLES = ["KFP_IAP_CLIENT_ID", "KF_PIPELINES_IAP_OAUTH2_CLIENT_ID"]
CERTIFICATE_VARIABLE = "KFP_SSL_CA_CERT"


class Connection(Section):
    """Where the API is, and how a request is authorized: by one of the three ways, or not."""

    host: str  # with http:// or https://, without a slash at the end
    namespace: str | None = None  # None on a cluster with a single user
    token: SecretStr | None = None
    token_file: str | None = None
    iap_client_id: str | None = None
    ca_cert: str | None = None  # path of a PEM file

    def run_link(self, run_id: str) -> str:
        """The address of a run's web page."""
        return f"{self.host}/#/runs/details/{run_id}"

    def schedule_link(self, schedule_id: str) -> str:
        """The address of a recurring run's web page."""
        return f"{self.host}/#/recurringrun/details/{schedule_id}"


def parse_connection(
    host: Annotated[
        str | None, typer.Option(envvar=HOST_VARIABLE, help="Address of Kubeflow Pipelines.")
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace",
            "-n",
            envvar=NAMESPACE_VARIABLE,
            help="Yours, where the cluster has several.",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar=TOKEN_VARIABLE, help="A bearer token; better by environment."),
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option(envvar=TOKEN_FILE_VARIABLE, help="File with a token, read at each request."),
    ] = None,
    iap_client_id: Annotated[
        str | None,
        typer.Option(envvar=IAP_VARIABLES, help="Of Identity-Aware Proxy, on Google Cloud."),
    ] = None,
    ca_cert: Annotated[
        str | None,
        typer.Option(envvar=CERTIFICATE_VARIABLE, help="PEM file of the authority to trust."),
    ] = None,
) -> Connection:
    """Checks the options of a connection before anything is sent.

    Args:
      host: URL with http:// or https://.
      namespace: the user's namespace, on a cluster with several users.
      token: a bearer token.
      token_file: path of a file with a bearer token.
      iap_client_id: OAuth client id of Identity-Aware Proxy.
      ca_cert: path of a PEM file.

    Returns:
      The connection; an empty string counts as not given.

    Raises:
      UserError: `host` is missing or no URL, or several credentials are given.
    """
    if not host:
        raise UserError(
            f"No address of Kubeflow Pipelines. Give --host URL or set {HOST_VARIABLE}, such as "
            "http://localhost:8080 behind `kubectl port-forward -n kubeflow "
            "svc/ml-pipeline-ui 8080:80`."
        )
    url = urlsplit(host)
    if url.scheme not in ("http", "https") or not url.hostname or url.username:
        raise UserError(
            f"Invalid --host {url._replace(netloc=url.netloc.rpartition('@')[2]).geturl()}. "
            "Give an address with http:// or https:// and without a user's name."
        )
    credentials = {"--token": token, "--token-file": token_file, "--iap-client-id": iap_client_id}
    if len(given := [option for option, value in credentials.items() if value]) > 1:
        raise UserError(
            f"Both {' and '.join(given)} are given, by option or environment. Give only one of "
            f"{', '.join(credentials)}."
        )
    return Connection(
        host=url._replace(query="", fragment="").geturl().rstrip("/"),
        namespace=namespace or None,
        token=SecretStr(token.strip()) if token else None,
        token_file=token_file or None,
        iap_client_id=iap_client_id or None,
        ca_cert=ca_cert or None,
    )


def with_connection(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of `parse_connection` to a Typer command.

    Args:
      command: a function whose keyword argument `connection` is not an option.

    Returns:
      A function with the command's other options and those of a connection.
    """
    options = inspect.signature(parse_connection).parameters
    others = [p for p in inspect.signature(command).parameters.values() if p.name != "connection"]

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        values = {name: arguments.pop(name) for name in options}
        command(connection=parse_connection(**values), **arguments)

    parameters = [*others, *options.values()]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
