"""How the faults start gunicorn."""

import sys

GUNICORN = (sys.executable, "-m", "gunicorn", "--config", "python:service.gunicorn_conf")
