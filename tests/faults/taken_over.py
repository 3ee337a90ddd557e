"""The real service, but for decoders that a GIF can take over. gunicorn loads this module."""

from functools import partial

from service.images import loader as module
from service.images.isolation.decoder import Decoder
from tests.support.hostile_decoder import PROGRAM

setattr(module, "Decoder", partial(Decoder, program=PROGRAM))  # noqa: B010  # its own import, which is not for others

from service.wsgi import app  # noqa: E402, F401  # gunicorn takes it from here
