"""How the faults start gunicorn."""

import sys

GUNICORN = (sys.executable, "-m", "gunicorn", "--config", "python:service.server.gunicorn_conf")
