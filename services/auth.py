"""Who may call: keys on any address but loopback, and no web page on a keyless one.

On loopback no key is needed and any that is sent is ignored. A web page that the user visits can
reach loopback too, so there the Host must be a loopback name (against DNS rebinding) and an Origin,
which browsers send and SDKs do not, must be a loopback one or allowed by name.
"""

import ipaddress
import time
from functools import lru_cache
from urllib.parse import urlsplit

from services.errors import Forbidden, InvalidSettings, Unauthorized
from services.settings import Settings
from services.storage.database import Database
from services.storage.keys import LAST_USED_RESOLUTION_S, any_live_key, find_key, note_use
from services.storage.tables import DEFAULT_PROJECT


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def keys_required(settings: Settings) -> bool:
    return settings.require_key or not is_loopback(settings.host)


def check_exposure(settings: Settings, database: Database) -> None:
    """Refuse to serve where a key is required and there is none. Raises InvalidSettings."""
    if not keys_required(settings):
        return
    with database.read() as session:
        if not any_live_key(session):
            raise InvalidSettings(
                f"Serving on {settings.host!r} needs an API key and there is none. Make one with 'loam keys create'."
            )


def authenticate(database: Database, authorization: str | None) -> str:
    """Give the project of the key in an Authorization header. Raises Unauthorized."""
    scheme, _, secret = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthorized("You did not provide an API key. Send it as 'Authorization: Bearer KEY'.")
    with database.read() as session:
        row = find_key(session, secret.strip())
    if row is None:
        raise Unauthorized("Incorrect API key provided.", code="invalid_api_key")
    now = int(time.time())
    if row.last_used_at is None or row.last_used_at < now - LAST_USED_RESOLUTION_S:
        with database.write() as session:
            note_use(session, row.id, now)
    return row.project_id


def project_of(settings: Settings, database: Database, authorization: str | None) -> str:
    """Give the caller's project. Raises Unauthorized where a key is required."""
    return authenticate(database, authorization) if keys_required(settings) else DEFAULT_PROJECT


def check_browser(settings: Settings, host: str | None, origin: str | None) -> None:
    """Keep web pages away from a keyless server. Raises Forbidden."""
    if keys_required(settings):
        return
    name = _hostname(f"//{host or ''}")
    if not is_loopback(name) and name not in settings.allowed_hosts:
        raise Forbidden(f"The Host {host!r} is not this server's. Name it in LOAM_ALLOWED_HOSTS to allow it.")
    if origin is not None and not origin_allowed(settings, origin):
        raise Forbidden(f"The Origin {origin!r} may not use this server. Name it in LOAM_ALLOWED_ORIGINS to allow it.")


def origin_allowed(settings: Settings, origin: str) -> bool:
    """Tell whether a web page of that origin may call."""
    return origin in settings.allowed_origins or is_loopback(_hostname(origin))


def _hostname(url: str) -> str:
    """Give the host that a URL names, nothing where it is not one."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
