"""Faults of the configured Prefect API, found by asking it in the same way as every later call.

An answer alone says little: `/health` needs no authentication and no database, and any web server gives some
answer to any path.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sweepflow.errors import SweepflowError
from sweepflow.words import shortened

if TYPE_CHECKING:
    import httpx

ASK_SECONDS = 10.0
"""Maximum wait for each of the two answers."""
MOST_WORDS = 200
"""Maximum number of characters of an answer that an error repeats."""
START = (
    "start it with: prefect server start; or unset PREFECT_API_URL to use an embedded one, which "
    "runner=slurm cannot"
)
ADDRESS = (
    "http://HOST:4200/api, or https:// where the server speaks TLS; of Prefect Cloud "
    "https://api.prefect.cloud/api/accounts/ACCOUNT/workspaces/WORKSPACE"
)
GIVE_ADDRESS = "set PREFECT_API_URL; `prefect config view` shows where it is set now"


class ServerError(SweepflowError):
    """There is no Prefect server to talk to."""

    exit_code = 2


@dataclass(frozen=True)
class Fault:
    """The reason why Prefect's API cannot be used.

    Attributes:
        what: The reason in words.
        got: The address, and the response from it.
        do: Advice on how to solve the problem.
        allowed: A value that would be right.
        passes: Whether waiting may help: nobody answers, or the server cannot answer at the moment.
    """

    what: str
    got: str
    do: str
    allowed: str = ""
    passes: bool = False

    @property
    def error(self) -> ServerError:
        """The fault as an exception."""
        return ServerError(self.what, got=self.got, allowed=self.allowed, do=self.do)


def find_fault(url: str) -> Fault | None:
    """Ask an API for its version, and for something in its database, with this process's credentials.

    Args:
        url: The API's address.

    Returns:
        The fault of the API; None if it can be used.
    """
    import httpx
    from prefect.client.base import ServerType
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    shown = _without_password(url)
    if not _is_address(url):
        return Fault("PREFECT_API_URL is no address", shown, GIVE_ADDRESS, ADDRESS)
    with temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}):
        try:
            client = get_client(
                sync_client=True, httpx_settings={"timeout": ASK_SECONDS, "follow_redirects": False}
            )
        except (OSError, ValueError, httpx.InvalidURL) as error:
            return _unusable(shown, error)
        with client._client:
            if client.server_type is not ServerType.CLOUD:
                # Without a body: a server that protects itself against forged requests is asked for a token
                # before any other kind, and what is no server cannot answer that.
                answer = _ask(client, shown, "GET", "/admin/version")
                if isinstance(answer, Fault):
                    return answer
                if (other := _other_version(shown, answer)) is not None:
                    return other
            answer = _ask(client, shown, "POST", "/flows/filter", json={"limit": 1})
    if isinstance(answer, Fault):
        return answer
    return None if isinstance(answer, list) else _no_prefect(shown, str(answer))


def _ask(client: Any, shown: str, method: str, path: str, **content: Any) -> Any:
    """Return the answer to one call, or the fault if there is no answer."""
    import httpx
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        response = client.request(method, path, **content)
    except PrefectHTTPStatusError as error:
        return _refused(shown, error.response)
    except (httpx.HTTPError, OSError) as error:
        return _silent(shown, error)
    except ValueError as error:  # a token that is none
        return _no_prefect(shown, str(error))
    if response.is_redirect:
        return _refused(shown, response)
    try:
        return response.json()
    except ValueError:
        return _no_prefect(shown, f"{response.headers.get('content-type', '')} {response.text}")


def _unusable(shown: str, error: Exception) -> Fault:
    """Return the fault of settings with which not even a client can be created."""
    return Fault(
        "Prefect's API cannot be asked with these settings",
        f"{shown}: {error}",
        "mend PREFECT_API_URL or PREFECT_API_SSL_CERT_FILE; `prefect config view` shows where they are set",
    )


def _silent(shown: str, error: Exception) -> Fault:
    """Return the fault of an address from which no HTTP answer came."""
    import httpx

    said = str(error) or type(error).__name__
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return Fault(
            "the certificate of Prefect's server is not trusted here",
            f"{shown}: {said}",
            "give its authority's certificate: PREFECT_API_SSL_CERT_FILE=FILE",
        )
    if shown.startswith("https") and any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
        return Fault(
            "what answers there does not speak TLS",
            f"{shown}: {said}",
            f"say http:// where the server does: {GIVE_ADDRESS}",
            ADDRESS,
        )
    if isinstance(error, (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)):
        return Fault(
            "what is there ends the connection without an answer",
            f"{shown}: {said}",
            f"say https:// where it speaks TLS, or look whether it is Prefect's server: {GIVE_ADDRESS}",
            ADDRESS,
            passes=True,
        )
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        said = f"nothing for {ASK_SECONDS:g} s"
    return Fault(
        "the Prefect server that PREFECT_API_URL or the profile names does not answer",
        f"{shown}: {said}",
        START,
        passes=True,
    )


def _refused(shown: str, response: httpx.Response) -> Fault:
    """Return the fault of a response that is a redirect or an HTTP error."""
    code, request = response.status_code, response.request
    got = f"{shown}: {code} to {request.method} {request.url.path}"
    if code in (401, 403):
        return _not_allowed(got, code, request.headers.get("Authorization", ""))
    if response.is_redirect:
        where = _without_password(response.headers.get("location", "")).removesuffix("/admin/version")
        return Fault(
            "the address of Prefect's API points to another", f"{got}, go to {where}", GIVE_ADDRESS, where
        )
    if code in (429, 502, 503, 504):
        return Fault(
            "Prefect's server cannot answer at the moment", got, "try again in a minute", passes=True
        )
    if code >= 500:
        if request.url.path.endswith("/admin/version"):
            return Fault("Prefect's server fails", got, "read its log", passes=True)
        return Fault(
            "Prefect's server cannot use its database",
            got,
            "read the server's log; start its database, or mend its PREFECT_API_DATABASE_CONNECTION_URL",
            passes=True,
        )
    return _no_prefect(shown, f"{code} {response.text}")


def _not_allowed(got: str, code: int, header: str) -> Fault:
    given = {"Basic": "PREFECT_API_AUTH_STRING", "Bearer": "PREFECT_API_KEY"}.get(header.partition(" ")[0])
    if code == 403:
        return Fault(
            "Prefect's server does not let this user in there",
            f"{got}, with {given or 'neither PREFECT_API_AUTH_STRING nor PREFECT_API_KEY'}",
            "choose a workspace of yours: prefect cloud login; or ask its owner",
        )
    return Fault(
        f"Prefect's server does not take this {given}"
        if given
        else "Prefect's server wants to know who asks",
        f"{got}, with {given or 'neither PREFECT_API_AUTH_STRING nor PREFECT_API_KEY'}",
        "set PREFECT_API_AUTH_STRING=USER:PASSWORD in the environment or the profile; for Prefect Cloud: "
        "prefect cloud login",
        "what the server was started with as PREFECT_SERVER_API_AUTH_STRING; a valid key of Prefect Cloud",
    )


def _no_prefect(shown: str, said: str) -> Fault:
    words = " ".join(said.split())
    return Fault(
        "there is no Prefect API at this address",
        f"{shown}: {shortened(words, MOST_WORDS)}",
        GIVE_ADDRESS,
        ADDRESS,
    )


def _other_version(shown: str, answer: Any) -> Fault | None:
    """Return the fault of a server with another major version, whose API is different; otherwise None.

    Smaller differences do no harm.
    """
    import prefect

    there, here = str(answer), str(prefect.__version__)
    if not isinstance(answer, str) or not there[:1].isdigit():
        return _no_prefect(shown, there)
    if there.split(".")[0] == here.split(".")[0]:
        return None
    return Fault(
        "Prefect's server is of another major version",
        f"{shown}: Prefect {there}; here: Prefect {here}",
        f"install Prefect {here} there, or set PREFECT_API_URL to another server",
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _without_password(url: str) -> str:
    """Return an address without the user and the password that may be in it."""
    scheme, mark, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{mark}{place.rpartition('@')[2]}{slash}{path}" if mark else url
