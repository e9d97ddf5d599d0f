"""``/api/users``: accounts, for admins."""

from __future__ import annotations

import falcon

from observatory.accounts.passwords import check_new_password, hash_password
from observatory.accounts.signing_in import read_email
from observatory.api import account_schemas as schemas
from observatory.api.answers import answer, answer_page
from observatory.api.auth import actor_of
from observatory.api.bodies import read_json
from observatory.api.params import NoParams, read_key, read_params
from observatory.store import audit, users
from observatory.store.database import writing


class Users:
    """``/api/users``: in the order of their making."""

    is_cached = False

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of accounts."""
        answer_page(req, resp, "users", users.list_users(**read_params(req, schemas.UserParams)))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make an account."""
        read_params(req, NoParams)
        _, body = read_json(req, schemas.CreateUser)
        email = read_email(body["email"])
        check_new_password(body["password"], email=email)
        password_hash = hash_password(body["password"])
        with writing(moves="auth_revision"):
            user = users.insert_user(
                email=email, name=body["name"], role=body["role"], password_hash=password_hash
            )
            target = f"user:{user.key}"
            audit.note(actor_of(req), "user.create", target=target, role=user.role)
        resp.status = falcon.HTTP_201
        answer(req, resp, user.document())


class User:
    """``/api/users/{id}``: one account."""

    is_cached = False

    def on_get(self, req: falcon.Request, resp: falcon.Response, user_id: str) -> None:
        """Answer with the account."""
        read_params(req, NoParams)
        answer(req, resp, users.get_user(read_key(user_id)).document())

    def on_patch(self, req: falcon.Request, resp: falcon.Response, user_id: str) -> None:
        """Change it; a new password, and being disabled, end its sign-ins."""
        read_params(req, NoParams)
        key = read_key(user_id)
        _, body = read_json(req, schemas.ChangeUser)
        password_hash = None
        if body["password"] is not None:
            check_new_password(body["password"], email=users.get_user(key).email)
            password_hash = hash_password(body["password"])
        with writing(moves="auth_revision"):
            user = users.update_user(
                key,
                name=body["name"],
                role=body["role"],
                is_disabled=body["disabled"],
                password_hash=password_hash,
            )
            audit.note(
                actor_of(req),
                "user.update",
                target=f"user:{key}",
                changed=sorted(name for name, value in body.items() if value is not None),
                role=user.role,
                disabled=user.is_disabled,
            )
        answer(req, resp, user.document())

    def on_delete(self, req: falcon.Request, resp: falcon.Response, user_id: str) -> None:
        """Remove it with its sign-ins and keys."""
        read_params(req, NoParams)
        key = read_key(user_id)
        with writing(moves="auth_revision"):
            email = users.get_user(key).email
            users.delete_user(key)
            audit.note(actor_of(req), "user.delete", target=f"user:{key}", email=email)
        answer(req, resp, {"id": key})
