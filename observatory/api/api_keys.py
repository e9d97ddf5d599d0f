"""``/api/api-keys``: keys of programs."""

from __future__ import annotations

import falcon

from observatory.accounts.keys import create_key
from observatory.api import account_schemas as schemas
from observatory.api.answers import answer, answer_page
from observatory.api.auth import Identity, actor_of, identity_of
from observatory.api.bodies import read_json
from observatory.api.params import NoParams, read_key, read_params
from observatory.errors import Forbidden, NotFound
from observatory.store import audit
from observatory.store.api_keys import ApiKey as StoredKey
from observatory.store.api_keys import get_key, list_keys, revoke_key
from observatory.store.database import writing


def _owned(identity: Identity, key_id: str) -> StoredKey:
    """Return a key that is somebody's own, or any for an admin; others do not exist for them."""
    key = read_key(key_id)
    found = get_key(key)
    is_own = found.user is not None and found.user.key == identity.user_key
    if not is_own and not identity.is_admin:
        raise NotFound("API key", str(key))
    return found


class ApiKeys:
    """``/api/api-keys``: one's own, or everybody's."""

    is_cached = False

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of keys, without the keys."""
        params = read_params(req, schemas.ApiKeyParams)
        identity = identity_of(req)
        is_all = params["owner"] == "all"
        if is_all and not identity.is_admin:
            raise Forbidden("Keys of others are for admins.")
        # Who runs the server has no account: its own keys are those that all admins look after.
        owner = None if is_all else identity.user_key
        page = list_keys(user_key=owner, limit=params["limit"], offset=params["offset"])
        answer_page(req, resp, "api_keys", page)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a key; this answer is the only one that shows it."""
        read_params(req, NoParams)
        _, body = read_json(req, schemas.CreateApiKey)
        identity = identity_of(req)
        text, key = create_key(
            name=body["name"],
            scopes=body["scopes"],
            actor=actor_of(req),
            user_key=identity.user_key,
            expires_at=body["expires_at"],
            project_keys=body["project_ids"],
            permissions=identity.permissions,
            scope=identity.scope,
        )
        resp.status = falcon.HTTP_201
        answer(req, resp, {**key.document(), "key": text})


class ApiKey:
    """``/api/api-keys/{id}``: one key."""

    is_cached = False

    def on_get(self, req: falcon.Request, resp: falcon.Response, key_id: str) -> None:
        """Answer with what is kept of it."""
        read_params(req, NoParams)
        answer(req, resp, _owned(identity_of(req), key_id).document())

    def on_delete(self, req: falcon.Request, resp: falcon.Response, key_id: str) -> None:
        """End it for good."""
        read_params(req, NoParams)
        key = _owned(identity_of(req), key_id)
        with writing(moves="auth_revision"):
            revoke_key(key.key)
            audit.note(actor_of(req), "key.revoke", target=f"key:{key.key}", name=key.name)
        answer(req, resp, {"id": key.key})
