"""Projects: the working directories that conversations belong to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import falcon
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from observatory.api import schemas
from observatory.api.answers import answer, answer_page
from observatory.api.auth import actor_of, identity_of, scope_of
from observatory.api.bodies import JsonInteger, read_json
from observatory.api.columns import FieldNames
from observatory.api.params import NoParams, PageParams, Text, read_key, read_params
from observatory.api.report_params import Zone
from observatory.api.schemas import VISIBILITIES
from observatory.store import audit
from observatory.store.analytics.project_statistics import read_statistics
from observatory.store.database import writing
from observatory.store.projects import change_project, get_project, list_projects, list_user_ids

MAX_USERS = 10_000


class ProjectParams(PageParams):
    """Which page of projects."""

    columns = FieldNames(schemas.Project)


class OneProjectParams(NoParams):
    """Which fields of one project, and whose clock tells the hours of the day."""

    timezone = Zone(load_default=ZoneInfo("UTC"), metadata={"description": "An IANA name."})
    columns = FieldNames(schemas.ProjectDetail)


class ChangeProject(Schema):
    """The body of ``PATCH``: for whom a project is there."""

    visibility = Text(load_default=None, allow_none=False, validate=validate.OneOf(VISIBILITIES))
    user_ids = fields.List(
        JsonInteger(validate=validate.Range(1, 2**53)),
        load_default=None,
        allow_none=False,
        validate=validate.Length(max=MAX_USERS),
    )

    @validates_schema
    def check_not_empty(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Refuse a change of nothing."""
        if data["visibility"] is None and data["user_ids"] is None:
            raise ValidationError("Takes visibility, user_ids or both.", "body")


class Projects:
    """``/api/projects``: the most recently active first."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of projects."""
        page = list_projects(**read_params(req, ProjectParams), scope=scope_of(req))
        answer_page(req, resp, "projects", page)


class Project:
    """``/api/projects/{id}``: one project with its sums, and what was done lately."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Answer with the project."""
        zone = read_params(req, OneProjectParams)["timezone"]
        key = read_key(project_id)
        project = get_project(key, scope=scope_of(req))
        project |= read_statistics(key, scope=scope_of(req), zone=zone, now=datetime.now(UTC))
        if identity_of(req).is_admin:
            project["user_ids"] = list_user_ids(key)
        answer(req, resp, project)

    def on_patch(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Say for whom the project is there: for everyone, or for administrators and its users."""
        read_params(req, NoParams)
        key = read_key(project_id)
        _, body = read_json(req, ChangeProject)
        with writing():
            project = change_project(key, **body, scope=scope_of(req))
            target = f"project:{key}"
            audit.note(actor_of(req), "project.update", target=target, **body)
        answer(req, resp, project)
