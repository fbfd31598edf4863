"""Who may ask, how often, and what a browser may do with the answers."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable
from urllib.parse import SplitResult, parse_qs, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from masklet.server.bodies import bounded
from masklet.server.limits import Limits

COOKIE = "masklet-token-{port}"
"""Servers of one machine share its cookies, whatever their ports."""

NO_TOKEN, OTHER_SITE = 4401, 4403
"""Codes with which a socket is closed that lacks the token, or is not let in for another reason."""

ADDRESSES = 10_000
TOKEN_LENGTH = 8
"""Characters of a token, at least."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

HEADERS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob: data:",
            "media-src 'self' blob:",
            "connect-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Allowance:
    """A token bucket: so many takings a second, and at first a burst of them."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._since = time.monotonic()

    def take(self) -> bool:
        """Whether one more is allowed now."""
        now = time.monotonic()
        self._left = min(self._left + (now - self._since) * self._per_second, self._burst)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Allowances:
    """One allowance for each address; those that were not seen for longest are forgotten."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._by_address: OrderedDict[str, Allowance] = OrderedDict()

    def take(self, address: str) -> bool:
        """Whether an address may ask once more now."""
        if address not in self._by_address:
            self._by_address[address] = Allowance(self._per_minute / 60, self._per_minute)
        self._by_address.move_to_end(address)
        while len(self._by_address) > ADDRESSES:
            self._by_address.popitem(last=False)
        return self._by_address[address].take()


class Guard:
    """Stands before the application.

    Lets in those who name a known host (so that a page of another site cannot reach a local server under a name of its
    own), come from no other site, ask not too often and for not too long, and know the token where there is one. The
    token comes as a bearer token or a cookie; a page that is opened with ``?token=`` gets the cookie. Raises ValueError
    for a poor token.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], token: str | None, limits: Limits) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}
        self._token = None if token is None else checked_token(token)
        self._limits = limits
        self._allowances = Allowances(limits.requests_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(refusal, scope, receive, send)
            return
        if scope["type"] == "http":
            await self._app(scope, bounded(receive, scope, self._limits), _with_headers(send))
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._knows(host):
            return _plain(421, f"this server does not answer to the name {host[:100]!r}; see masklet serve --help")
        if not self._allowances.take((scope.get("client") or ("",))[0]):
            return _plain(429, "too many requests; wait a moment")
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
        if changes and not _is_own(headers.get("origin"), host):
            return _plain(403, "requests from other sites are not taken")
        return None if self._token is None else self._unless_known(scope, headers, self._token)

    def _unless_known(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        given = query.pop("token", [""])[0]
        cookie = COOKIE.format(port=_port(headers.get("host", "")))
        if scope["type"] == "http" and scope["method"] == "GET" and _same(given, token):
            response = RedirectResponse(_beside(scope["path"], urlencode(query, doseq=True)), 303)
            response.set_cookie(cookie, _sealed(token), httponly=True, samesite="lax")
            return response
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        known = cookie_parser(headers.get("cookie", "")).get(cookie, "")
        if _same(bearer, token) or _same(known, _sealed(token)):
            return None
        return _plain(401, "a token is needed; open the address that masklet serve printed")

    def _knows(self, host: str) -> bool:
        name = _split(f"//{host}").hostname or ""
        return "*" in self._hosts or name.lower() in self._hosts


async def _refuse(refusal: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """A browser tells a page only of the codes of sockets that were open, and the page has to know of a lost token."""
    if scope["type"] == "http":
        await refusal(scope, receive, _with_headers(send))
        return
    await receive()
    lacks_token = refusal.status_code == 401
    if lacks_token:
        await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": NO_TOKEN if lacks_token else OTHER_SITE, "reason": ""})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that is bound to ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """A token that cannot be guessed."""
    return secrets.token_urlsafe(24)


def checked_token(token: str) -> str:
    """The token itself. Raises ValueError for one that is too short, or that cannot stand in a header."""
    if len(token) < TOKEN_LENGTH or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(
            f"expected a token of at least {TOKEN_LENGTH} letters, digits or signs without spaces, got one of "
            f"{len(token)}; choose another one, or none, and one is made up where it is needed"
        )
    return token


def _is_own(origin: str | None, host: str) -> bool:
    """Programs send no origin; browsers always do with what changes something."""
    return origin is None or _split(origin).netloc.lower() == host.lower()


def _split(address: str) -> SplitResult:
    """An empty one for what is no address."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _port(host: str) -> int:
    """Of a host that is known, as the browser names it."""
    try:
        return _split(f"//{host}").port or 0
    except ValueError:
        return 0


def _beside(path: str, query: str) -> str:
    """The same address without the token, relative to it, so that it stays on this server whatever its path is."""
    return f"./{quote(path.rpartition('/')[2])}" + (f"?{query}" if query else "")


def _sealed(token: str) -> str:
    """What the cookie holds: any token as letters and digits, which a cookie can carry."""
    return hashlib.sha256(token.encode()).hexdigest()


def _same(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode(), token.encode())


def _plain(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
