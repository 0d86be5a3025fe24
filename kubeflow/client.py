"""KFP's client with bounded waiting, in which every failure of the API is a UserError."""

import codecs
import json
import re
import warnings
from collections.abc import Iterator, Mapping
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
_READ_BYTES = 1 << 16  # of a text at once, at most
_MAX_CHARACTERS = 240  # quoted of a server's message
REMEDIES = {
    400: "Correct what it names",
    401: f"Give a valid token (--token-file, {TOKEN_VARIABLE}) or --iap-client-id",
    403: f"Ask for access, or give another --namespace ({NAMESPACE_VARIABLE})",
    404: "Check the name or id, the --namespace, and that --host is Kubeflow Pipelines' address",
    409: "It exists already: give another name, or try again if somebody else submits as well",
    413: "The package is too large for a proxy before the API: raise that limit",
    429: "Wait, and try again",
}
_LOGIN = f"a login page is in the way: give a token (--token-file, {TOKEN_VARIABLE})"
_SERVER = "Try again; if it persists, read the log of the cluster's ml-pipeline deployment"
_ADDRESS = "Check --host, and that the cluster (or `kubectl port-forward`) is running"
# What urllib3 puts before a reason: the connection or pool that it has failed in.
_ORIGIN = re.compile(r"^(<?[\w.]*HTTPS?Connection.*?[)>]|None): ")


class UnavailableError(UserError):
    """The API could not answer this time; the same request may succeed later."""


def connect(connection: Connection) -> kfp.Client:
    """Makes a client whose requests end in time, and asks the API whether it is healthy.

    Args:
      connection: where the API is, and the credentials.

    Returns:
      KFP's client, whose methods raise a UserError when a request fails, or an UnavailableError
      if it may succeed later.

    Raises:
      UserError: the API cannot be reached or refuses, a file of the connection cannot be read, or
        the cluster has several users and no namespace is given.
    """
    for option, path in (
        ("--token-file", connection.token_file),
        ("--ca-cert", connection.ca_cert),
    ):
        if path:
            _check_readable(path, option)
    with warnings.catch_warnings(action="ignore"):  # one about KFP's first version
        client = kfp.Client(
            host=connection.host,
            # Given one, KFP takes none from the home folder, and does not ask the API five times,
            # with a traceback for each failure, whether it needs one.
            namespace="none",
            existing_token=_token(connection),
            credentials=connection.token_file
            and ServiceAccountTokenVolumeCredentials(connection.token_file),
            ssl_ca_cert=connection.ca_cert,
        )
    client._context_setting["namespace"] = connection.namespace or ""
    _guard(client._healthz_api.api_client.rest_client)  # all services share it
    health = client.healthzs.healthz_service_get_healthz()
    if health.multi_user and not connection.namespace:
        raise UserError(
            f"No namespace is given, and {connection.host} keeps its users apart by namespaces. "
            f"Give --namespace or set {NAMESPACE_VARIABLE}."
        )
    return client


def read_text(client: kfp.Client, path: str, query: Mapping[str, str]) -> Iterator[str]:
    """Asks for a text of any length, for which KFP's client has no method.

    Args:
      client: of `connect`.
      path: of the resource, below the host.
      query: names and values.

    Returns:
      The lines as they arrive, without their ends and without the connection's token.

    Raises:
      UserError: the request fails, at once or while lines are read, or is answered by a web page.
    """
    api = client._healthz_api.api_client
    response = api.call_api(
        path,
        "GET",
        query_params=list(query.items()),
        auth_settings=["Bearer"],
        _preload_content=False,
        _return_http_data_only=True,
    )
    kind = response.headers.get("content-type", "")
    if "html" in kind:
        raise _unexpected(kind, f"GET {path}", "text")
    token = (api.configuration.get_api_key_with_prefix("authorization") or "").split(" ")[-1]
    return _lines(response, f"GET {path}", token)


def _lines(response: urllib3.HTTPResponse, request: str, token: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    try:
        while content := response.read1(_READ_BYTES):  # what has come, without waiting for more
            *lines, rest = (rest + decoder.decode(content)).split("\n")
            for line in lines:
                yield _without(token, line).removesuffix("\r")
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _unanswered(error, request) from None
    if rest:
        yield _without(token, rest)


def _without(token: str, text: str) -> str:
    return text.replace(token, "[token]") if token else text


def _guard(rest: Any) -> None:
    """Makes each request end in time with an answer in JSON, or fail in one line.

    What is asked for without being read at once may be something else than JSON.
    """
    rest.pool_manager.connection_pool_kw["retries"] = urllib3.Retry(0, redirect=False)
    unguarded = rest.request

    def request(method: str, url: str, **arguments: Any) -> Any:
        name = f"{method} {urlsplit(url).path}"
        arguments["_request_timeout"] = (CONNECT_SECONDS, READ_SECONDS)
        try:
            response = unguarded(method, url, **arguments)
        except kfp_server_api.ApiException as error:
            headers = arguments.get("headers") or {}
            raise _refused(error, name, headers.get("authorization", "")) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _unanswered(error, name) from None
        if arguments.get("_preload_content", True):
            try:
                json.loads(response.data)
            except ValueError:
                raise _unexpected(response.getheader("content-type"), name, "JSON") from None
        return response

    rest.request = request


def _unexpected(kind: str | None, request: str, expected: str) -> UserError:
    kind = kind or "content of no type"
    return UserError(
        f"Kubeflow's API answered {request} with {kind} instead of {expected}. "
        f"{f'Perhaps {_LOGIN}' if 'html' in kind else _ADDRESS}."
    )


def _refused(error: kfp_server_api.ApiException, request: str, authorization: str) -> UserError:
    status = error.status
    if 300 <= status < 400:
        # Without its query, in which a login's redirect carries secrets.
        location = urlsplit((error.headers or {}).get("Location", ""))
        return UserError(
            f"Kubeflow's API redirected {request} to "
            f"{location._replace(query='', fragment='').geturl()}. If that is Kubeflow Pipelines, "
            f"give it as --host; else {_LOGIN}."
        )
    message = _server_message(error.body) or error.reason or ""
    # Some servers repeat what they were sent.
    message = _without(authorization.removeprefix("Bearer "), message)
    remedy = REMEDIES.get(status, _SERVER if status >= 500 else _ADDRESS)
    kind = UnavailableError if status >= 500 or status == 429 else UserError
    return kind(f"Kubeflow's API refused {request}: {status} {_one_line(message)}. {remedy}.")


def _unanswered(error: Exception, request: str) -> UserError:
    cause = getattr(error, "reason", None) or error
    reason = _one_line(_ORIGIN.sub("", str(cause.args[-1] if cause.args else cause)))
    if isinstance(cause, urllib3.exceptions.SSLError):
        return UserError(
            f"No trusted TLS connection to Kubeflow's API for {request}: {reason}. Check --host, "
            "or give the certificate of its authority with --ca-cert FILE "
            f"({CERTIFICATE_VARIABLE})."
        )
    return UnavailableError(f"Kubeflow's API did not answer {request}: {reason}. {_ADDRESS}.")


def _server_message(body: str | bytes | None) -> str:
    """The message in an error of gRPC's gateway; empty if something else has answered."""
    try:
        values = json.loads(body or "")
        return str(values.get("message") or values.get("error") or values.get("error_message"))
    except (ValueError, AttributeError):
        return ""


def _one_line(text: object) -> str:
    line = " ".join(str(text).split()).rstrip(".")
    return line if len(line) <= _MAX_CHARACTERS else f"{line[:_MAX_CHARACTERS]}…"


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
            f"No service account for --iap-client-id: {_one_line(error)}. Set "
            f"GOOGLE_APPLICATION_CREDENTIALS to its key file, or give {TOKEN_VARIABLE}."
        ) from None


def _check_readable(path: str, option: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        raise UserError(
            f"Cannot read {option} {path}: {error.strerror}. Give a readable file."
        ) from None
