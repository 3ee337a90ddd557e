"""The address of this service, which documents and clients of reconciliation find it by."""

import re
from collections.abc import Callable

from flask import Request

from service.errors import MalformedRequest

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

_MOST_HOST_CHARACTERS = 300  # more than DNS has, with a port: a document repeats it for each prediction

AddressOf = Callable[[Request], str]


def address_of(public_url: str | None) -> AddressOf:
    """Return what gives a request's own view of this service's address, with no slash at its end.

    public_url: the address, where it is known; else it is what the request was sent to, by its header Host
    The function raises MalformedRequest where that header names no host.
    """

    def address(request: Request) -> str:
        if public_url:
            return public_url.rstrip("/")
        if len(request.host) > _MOST_HOST_CHARACTERS or not _HOST.fullmatch(request.host):
            raise MalformedRequest("The header Host names no host.")
        return f"{request.scheme}://{request.host}"

    return address
