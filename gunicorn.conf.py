"""``gunicorn -c gunicorn.conf.py observatory.wsgi:application``, from a checkout."""

from observatory.gunicorn_config import *  # noqa: F403
