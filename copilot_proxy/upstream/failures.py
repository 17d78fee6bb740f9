"""What went wrong when llama-server was asked? Twisted's failures, as errors that tell what to do."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet import error
from twisted.internet.defer import CancelledError
from twisted.web.client import RequestTransmissionFailed, ResponseFailed, ResponseNeverReceived

from .. import errors

_WRAPPERS = (ResponseNeverReceived, ResponseFailed, RequestTransmissionFailed)


def _causes(failed: BaseException) -> list[BaseException]:
    """The error and what twisted.web wraps in it as lists of failures, innermost last."""
    causes = [failed]
    for wrapper in causes:
        if isinstance(wrapper, _WRAPPERS):
            causes.extend(reason.value for reason in wrapper.reasons)
    return causes


def _is_tls(cause: BaseException) -> bool:
    """pyOpenSSL's and service_identity's errors, by their modules: neither is imported for plain HTTP."""
    return type(cause).__module__.partition(".")[0] in ("OpenSSL", "service_identity")


def named(failed: Exception, shown: str, connect_timeout: float) -> BaseException:
    """The error that tells the user what to do in place of Twisted's; any other stays what it is.

    `shown` names upstream, and `connect_timeout` is the limit in seconds that a connection had.
    """
    causes = _causes(failed)
    for cause in reversed(causes):
        for kind, make in _names(shown, connect_timeout):
            if isinstance(cause, kind):
                return cast(BaseException, make(cause))
        if _is_tls(cause):
            return errors.UpstreamTLS(f"the TLS handshake with {shown} failed: {cause}")
        if isinstance(cause, CancelledError | errors.ProxyError):
            return cause
    if not isinstance(failed, (*_WRAPPERS, OSError)):
        return failed  # a defect of ours
    detail = "; ".join(filter(None, (str(cause) for cause in causes[1:]))) or str(failed)
    return errors.UpstreamError(f"llama-server at {shown} sent no answer that makes sense: {detail}")


def _names(there: str, connect_timeout: float) -> tuple[tuple[Any, Any], ...]:
    """Failure -> error, in the order in which they are looked for."""
    return (
        (
            (error.ConnectionRefusedError, error.BadFileError, FileNotFoundError),
            lambda _: errors.UpstreamRefused(f"llama-server does not answer on {there}: is it running?"),
        ),
        (
            (error.DNSLookupError, error.UnknownHostError),
            lambda _: errors.UpstreamUnknown(f"the host of {there} has no address: is the name right?"),
        ),
        (
            (error.TimeoutError, error.TCPTimedOutError, error.ConnectingCancelledError),
            lambda _: errors.UpstreamSlow(
                f"no connection to {there} in {connect_timeout:g} s: is the machine up, and the "
                "port open? --connect-timeout sets how long to wait"
            ),
        ),
        (
            (error.ConnectionDone, error.ConnectionLost),
            lambda _: errors.UpstreamLost(
                f"llama-server at {there} closed the connection without an answer: its log may tell why"
            ),
        ),
        (
            error.ConnectError,
            lambda cause: errors.UpstreamRefused(f"llama-server cannot be reached on {there}: {cause}"),
        ),
    )
