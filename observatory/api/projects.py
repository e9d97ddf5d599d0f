"""Projects: the working directories that conversations belong to."""

from __future__ import annotations

import falcon

from observatory.api import schemas
from observatory.api.answers import answer, answer_page
from observatory.api.columns import FieldNames
from observatory.api.params import NoParams, PageParams, read_key, read_params
from observatory.store.projects import get_project, list_projects


class ProjectParams(PageParams):
    """Which page of projects."""

    columns = FieldNames(schemas.Project)


class OneProjectParams(NoParams):
    """Which fields of one project."""

    columns = FieldNames(schemas.Project)


class Projects:
    """``/api/projects``: the most recently active first."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of projects."""
        answer_page(req, resp, "projects", list_projects(**read_params(req, ProjectParams)))


class Project:
    """``/api/projects/{id}``: one project with the sums over its conversations."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, project_id: str) -> None:
        """Answer with the project."""
        read_params(req, OneProjectParams)
        answer(req, resp, get_project(read_key(project_id)))
