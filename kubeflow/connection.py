"""How a cluster's API is reached: address, namespace and who asks. Nothing of it is ever stored."""

from typing import Annotated
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

HostOption = Annotated[
    str | None,
    typer.Option("--host", envvar=HOST_VARIABLE, help="Address of Kubeflow Pipelines."),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", envvar=NAMESPACE_VARIABLE, help="Yours, where the cluster has many."
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option("--token", envvar=TOKEN_VARIABLE, help="A bearer token; better by environment."),
]
TokenFileOption = Annotated[
    str | None,
    typer.Option(
        "--token-file", envvar=TOKEN_FILE_VARIABLE, help="A file with one, read at each request."
    ),
]
IapOption = Annotated[
    str | None,
    typer.Option(
        "--iap-client-id", envvar=IAP_VARIABLES, help="Of Identity-Aware Proxy, on Google Cloud."
    ),
]
CertificateOption = Annotated[
    str | None,
    typer.Option(
        "--ca-cert", envvar=CERTIFICATE_VARIABLE, help="PEM file of the authority to trust."
    ),
]


class Connection(Section):
    host: str  # with http:// or https://, without a slash at the end
    namespace: str | None = None  # None on a cluster that one user has for himself
    token: SecretStr | None = None
    token_file: str | None = None
    iap_client_id: str | None = None
    ca_cert: str | None = None

    def run_link(self, run_id: str) -> str:
        return f"{self.host}/#/runs/details/{run_id}"


def connection(
    host: str | None,
    namespace: str | None,
    token: str | None,
    token_file: str | None,
    iap_client_id: str | None,
    ca_cert: str | None,
) -> Connection:
    """What flags and environment say, checked before anything is sent.

    Raises:
      UserError: no address, one that is no address, or more than one way to say who asks.
    """
    if not host:
        raise UserError(
            "the address of Kubeflow Pipelines is needed. Received: none; give --host URL or set "
            f"{HOST_VARIABLE}, such as http://localhost:8080 behind `kubectl port-forward "
            "-n kubeflow svc/ml-pipeline-ui 8080:80`"
        )
    parts = urlsplit(host)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise UserError(
            "--host must be an address with http:// or https:// and without a user's name. "
            f"Received: {parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()}"
        )
    ways = {"--token": token, "--token-file": token_file, "--iap-client-id": iap_client_id}
    if len(given := [name for name, value in ways.items() if value]) > 1:
        raise UserError(
            f"one way to say who asks is enough. Received: {' and '.join(given)}, by flags or by "
            "environment; leave one"
        )
    return Connection(
        host=parts._replace(query="", fragment="").geturl().rstrip("/"),
        namespace=namespace or None,
        token=SecretStr(token.strip()) if token else None,
        token_file=token_file or None,
        iap_client_id=iap_client_id or None,
        ca_cert=ca_cert or None,
    )
