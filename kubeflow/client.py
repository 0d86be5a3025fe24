"""KFP's client, with bounded waiting, and every failure of the API as one line."""

import contextlib
import json
import logging
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kfp
import kfp_server_api
import urllib3
from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

from inception_finetune.components.errors import UserError
from inception_finetune.kubeflow.connection import (
    CERTIFICATE_VARIABLE,
    NAMESPACE_VARIABLE,
    TOKEN_VARIABLE,
    Connection,
)

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
_LONGEST = 240  # characters of a server's own words
MENDS = {
    400: "mend what it names",
    401: f"give a valid token (--token-file, {TOKEN_VARIABLE}) or --iap-client-id",
    403: f"ask for access, or give another --namespace ({NAMESPACE_VARIABLE})",
    404: "check the name or id, the --namespace, and that --host is Kubeflow Pipelines' address",
    409: "it is there already; give another name, or try again if somebody submits as well",
    413: "the package is too large for what lies before the API; raise that limit",
    429: "wait, and try again",
}
_LOGIN = f"a login page is in the way; give a token (--token-file, {TOKEN_VARIABLE})"
_SERVER = "try again; if it stays so, look at the log of the cluster's ml-pipeline deployment"
_ADDRESS = "check --host, and that the cluster (or `kubectl port-forward`) is running"


class UnavailableError(UserError):
    """The API could not answer this time; the same request may succeed later."""


class Client(kfp.Client):
    """Raises UserError alone: KFP's own waits for ever, retries in silence and prints links."""

    def __init__(self, connection: Connection) -> None:
        credentials = None
        if connection.token_file:
            _check_file(connection.token_file, "--token-file")
            credentials = ServiceAccountTokenVolumeCredentials(connection.token_file)
        if connection.ca_cert:
            _check_file(connection.ca_cert, "--ca-cert")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            super().__init__(
                host=connection.host,
                # Anything but its default is taken as it is, and not looked up in the home folder.
                namespace=connection.namespace or "",
                existing_token=_token(connection),
                credentials=credentials,
                ssl_ca_cert=connection.ca_cert,
            )
        self._guard()

    def get_kfp_healthz(self, sleep_duration: int = 0) -> kfp_server_api.V2beta1GetHealthzResponse:
        """One attempt; KFP's constructor asks as well."""
        self._guard()
        return self._healthz_api.healthz_service_get_healthz()

    def _guard(self) -> None:
        rest = self._healthz_api.api_client.rest_client  # all services share it
        if isinstance(rest.request, _Guarded):
            return
        rest.pool_manager.connection_pool_kw["retries"] = urllib3.Retry(
            connect=0, read=0, redirect=False, status=0, other=0
        )
        rest.request = _Guarded(rest.request)


def connect(connection: Connection) -> Client:
    """A client whose API has answered.

    Raises:
      UserError: it cannot be reached, refuses, or has many namespaces and none is given.
    """
    logging.getLogger("kfp").setLevel(logging.CRITICAL)
    client = Client(connection)
    if client.get_kfp_healthz().multi_user and not connection.namespace:
        raise UserError(
            f"{connection.host} keeps its users apart by namespaces. Received: none; give "
            f"--namespace or set {NAMESPACE_VARIABLE}"
        )
    return client


@contextlib.contextmanager
def without_links():
    """KFP's client prints an address for each thing that it makes."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


class _Guarded:
    """A request that ends in time, whose answer is JSON, or that fails in one line."""

    def __init__(self, request: Callable) -> None:
        self._request = request

    def __call__(self, method: str, url: str, **arguments: Any):
        where = f"{method.upper()} {_address(url)}"
        arguments["_request_timeout"] = (CONNECT_SECONDS, READ_SECONDS)
        token = (arguments.get("headers") or {}).get("authorization", "").removeprefix("Bearer ")
        try:
            answer = self._request(method, url, **arguments)
        except kfp_server_api.ApiException as error:
            raise _refused(error, where, token) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _unreachable(error, where) from None
        try:
            json.loads(answer.data)
        except ValueError:
            kind = answer.getheader("content-type") or "nothing that names its kind"
            raise UserError(
                f"Kubeflow's API answers in JSON. Received: {kind} from {where}; "
                + (_LOGIN if "html" in kind else _ADDRESS)
            ) from None
        return answer


def _refused(error: kfp_server_api.ApiException, where: str, token: str) -> UserError:
    status = error.status
    if not status:  # urllib3 could not agree with the server on TLS
        return UserError(
            f"the server's certificate must be trusted. Received: {_one_line(error.reason)} from "
            f"{where}; give its authority with --ca-cert FILE ({CERTIFICATE_VARIABLE})"
        )
    if 300 <= status < 400:
        target = _address((error.headers or {}).get("Location", ""), whole=True)
        mend = f"if that is Kubeflow Pipelines, give it as --host; else {_LOGIN}"
        return UserError(f"the API must answer itself. Received: a redirect to {target}; {mend}")
    said = _one_line(_message(error.body) or error.reason or "")
    if token:  # some servers repeat what they were sent
        said = said.replace(token, "[token]")
    kind = UnavailableError if status >= 500 or status == 429 else UserError
    mend = MENDS.get(status, _SERVER if status >= 500 else _ADDRESS)
    return kind(f"Kubeflow's API refuses {where}. Received: {status} {said}; {mend}")


def _unreachable(error: Exception, where: str) -> UserError:
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, urllib3.exceptions.SSLError):
        return UserError(
            f"the server's certificate must be trusted. Received: {_one_line(str(reason))} from "
            f"{where}; give its authority with --ca-cert FILE ({CERTIFICATE_VARIABLE})"
        )
    if isinstance(reason, urllib3.exceptions.NewConnectionError):
        told = re.sub(r"^.*: (?=Failed)", "", _one_line(reason))
    elif isinstance(reason, urllib3.exceptions.ConnectTimeoutError):
        told = f"no connection in {CONNECT_SECONDS:g} s"
    elif isinstance(reason, (urllib3.exceptions.TimeoutError, TimeoutError)):
        told = f"no answer in {READ_SECONDS:g} s"
    else:
        told = _one_line(reason)
    return UnavailableError(f"Kubeflow's API must answer {where}. Received: {told}; {_ADDRESS}")


def _message(body: str | bytes | None) -> str:
    """What gRPC's gateway says in a failure, or nothing where something else answered."""
    try:
        values = json.loads(body or "")
        return str(values.get("message") or values.get("error") or values.get("error_message"))
    except (ValueError, AttributeError):
        return ""


def _one_line(text: object) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _address(url: str, whole: bool = False) -> str:
    """Without its query: a login's redirect carries secrets there."""
    parts = urlsplit(url)
    return parts._replace(query="", fragment="").geturl() if whole else f"{parts.path}"


def _token(connection: Connection) -> str | None:
    if connection.iap_client_id:
        return _iap_token(connection.iap_client_id)
    return connection.token.get_secret_value() if connection.token else None


def _iap_token(client_id: str) -> str:
    """An identity token of this machine's service account, as Identity-Aware Proxy asks for.

    KFP's own way, through a browser, keeps a refresh token in the home folder.
    """
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request
    from google.oauth2.id_token import fetch_id_token

    try:
        return fetch_id_token(Request(), client_id)
    except (GoogleAuthError, ValueError) as error:
        raise UserError(
            f"--iap-client-id needs a service account. Received: {_one_line(error)}; set "
            f"GOOGLE_APPLICATION_CREDENTIALS to its key file, or give {TOKEN_VARIABLE}"
        ) from None


def _check_file(path: str, option: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        raise UserError(
            f"{option} must be a readable file. Received: {path} ({error.strerror})"
        ) from None
