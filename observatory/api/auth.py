"""Who asks: what a request may do, and what part of the archive is there for it."""

from __future__ import annotations

from dataclasses import dataclass

import falcon

from observatory.store.scopes import WHOLE, Scope


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody whose credentials were found good.

    Attributes:
        name: ``user:ID``, ``key:ID``, or ``operator`` for who runs the server.
        permissions: What may be done, see accounts/permissions.py.
        scope: Which projects are there.
    """

    name: str
    permissions: frozenset[str]
    scope: Scope = WHOLE


def scope_of(req: falcon.Request) -> Scope:
    """Return what part of the archive is there for who sent a request."""
    identity: Identity | None = req.context.identity
    return WHOLE if identity is None else identity.scope
