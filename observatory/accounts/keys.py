"""Making API keys that allow no more than who makes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from observatory.accounts.credentials import hash_secret, make_key, shown_part
from observatory.accounts.permissions import ADMIN, ALL, expand
from observatory.errors import Forbidden, InvalidParameter, Unauthorized
from observatory.store import audit
from observatory.store.api_keys import ApiKey, insert_key
from observatory.store.audit import Actor
from observatory.store.database import writing
from observatory.store.scopes import WHOLE, Scope
from observatory.store.users import find_user


def create_key(
    *,
    name: str,
    scopes: Sequence[str],
    actor: Actor,
    user_key: int | None = None,
    expires_at: str | None = None,
    project_keys: Collection[int] | None = None,
    permissions: frozenset[str] = ALL,
    scope: Scope = WHOLE,
) -> tuple[str, ApiKey]:
    """Make a key and return it with what is kept of it.

    Args:
        name: What people call it.
        scopes: What it allows, of permissions.SCOPES.
        actor: Who makes it, for the audit log.
        user_key: Whose it is; ``None`` for who runs the server.
        expires_at: When it ends, in the one text form; ``None`` for never.
        project_keys: The only projects it shows; ``None`` for all that its owner may see.
        permissions: What who makes it may do.
        scope: What is there for who makes it.

    Raises:
        Forbidden: It would allow more than who makes it may do.
        Unauthorized: The account was removed meanwhile.
        InvalidParameter: A project does not exist, or the key is for everything and limited.
    """
    beyond = sorted(expand(scopes) - permissions)
    if beyond:
        raise Forbidden(f"A key may allow no more than its owner may do: not {', '.join(beyond)}.")
    if project_keys is not None and ADMIN in scopes:
        # It could make itself a key that is not limited.
        raise InvalidParameter("project_ids", "A key with the scope admin can not be limited.")
    if project_keys is None and scope.only is not None:
        project_keys = scope.only
    text = make_key()
    with writing(moves=None):
        if user_key is not None and find_user(user_key) is None:
            raise Unauthorized("This account was removed.")
        key = insert_key(
            name=name,
            key_hash=hash_secret(text),
            prefix=shown_part(text),
            scopes=scopes,
            project_keys=project_keys,
            scope=scope,
            user_key=user_key,
            expires_at=expires_at,
        )
        target = f"key:{key.key}"
        audit.note(actor, "key.create", target=target, name=name, scopes=list(key.scopes))
    return text, key
