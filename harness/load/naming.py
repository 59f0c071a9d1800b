"""The ids of requests: plain words, or UUIDs for servers that take nothing else in `x-request-id`."""

from __future__ import annotations

from uuid import NAMESPACE_OID, uuid5


def request_id(name: str, *, as_uuid: bool) -> str:
    """The id of the request of this name. As a UUID (version 5, RFC 9562) it is the same for the same name."""
    return str(uuid5(NAMESPACE_OID, name)) if as_uuid else name
