"""Settings: environment variables with the prefix GAZE_, read once, frozen; unknown names are refused."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from service.api.access.browsers import CorsPolicy, Hosts
from service.api.access.callers import Network, Rate, parse_networks, parse_rates
from service.errors import InvalidSettings
from service.images.fetch.addresses import FetchPolicy

PREFIX = "GAZE_"
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,256}")


def _parsed_by(parse: Callable[[str], Any]) -> BeforeValidator:
    """Let a setting be given as text, as the environment does, or as what the text means."""
    return BeforeValidator(lambda given: parse(given) if isinstance(given, str) else given)


class Settings(BaseModel):
    """Everything that can be set, each with what it means."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    model: str = Field(
        default="openai/clip-vit-base-patch32",
        min_length=1,
        max_length=1_000,
        description="A hub id of the CLIP or SigLIP family, a local directory, or `demo`, which `make run` takes "
        "where none is named.",
    )
    revision: str | None = Field(
        default=None,
        pattern=r"^[\w./-]{1,200}$",
        description="A commit, branch or tag of the hub's repository. The default model has a pinned commit; for "
        "others it is the hub's `main`.",
    )
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="The address to listen on: `0.0.0.0` in the containers; `::` is every address of IPv6 and IPv4.",
    )
    port: int = Field(default=8000, ge=1, le=65535, description="The port to listen on.")
    public_url: Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:\[\]_-]+(/[!-~]*)?$", max_length=500)] | None = (
        Field(
            default=None,
            description="The service's own address, as documents and reconciliation name it, such as "
            "`https://museum.example/gaze`. Without it, they name the address that a request was sent to.",
        )
    )
    lists_dir: Path | None = Field(
        default=None, description="A folder of your own lists, served beside the built-in ones."
    )
    cache_dir: Path | None = Field(
        default=None,
        description="Where the converted model and the features of phrases are kept; safe to delete, rebuilt at the "
        "next start. By default it is the user's cache directory (`~/.cache/gaze`), and "
        "`/var/lib/gaze/cache` in the containers. A user without a home gets a folder that is removed "
        "with the process, and a warning.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the model runs; the CUDA container says `cuda`."
    )
    backend: Literal["auto", "torch", "openvino"] = Field(
        default="auto",
        description="What runs the model; `openvino` runs on CPUs only. `auto` takes the fastest that gives the same "
        "features on this machine.",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="`auto` is `float32` on a CPU and `float16` on CUDA, which alone has it. See "
        "[Tuning](tuning.md#less-exact-and-faster).",
    )
    decode: Literal["exact", "fast"] = Field(
        default="exact",
        description="`fast` decodes large JPEGs at a fraction of their size. See "
        "[Tuning](tuning.md#less-exact-and-faster).",
    )
    workers: int = Field(
        default=1, ge=1, le=64, description="Processes; each holds the model. See [Tuning](tuning.md#what-to-set)."
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Threads of one encoder pass. The default is the cores that the process may use, shared among the"
        " workers.",
    )
    api_keys: tuple[str, ...] = Field(
        default=(),
        repr=False,
        description="Comma-separated keys; callers send one as `Authorization: Bearer KEY`. None means that the "
        "service is open. See [Keys](access.md#keys).",
    )
    max_request_bytes: int = Field(default=64 * 1024**2, ge=1024, le=1024**3, description="Bytes of one request.")
    max_image_bytes: int = Field(
        default=32 * 1024**2, ge=1024, le=1024**3, description="Bytes of one picture, fetched or sent."
    )
    max_image_pixels: int = Field(
        default=50_000_000, ge=1, le=178_956_970, description="Pixels of one picture, checked before it is decoded."
    )
    max_phrases: int = Field(
        default=2_000,
        ge=1,
        le=100_000,
        description="Phrases of one request's own lists together. A longer vocabulary belongs in a served list.",
    )
    request_timeout: float = Field(
        default=60.0, gt=0, le=3600, description="Seconds from a request's headers to its answer."
    )
    url_fetch: str = Field(
        default="public",
        description="What may be fetched: `off`; `public`, that is public addresses on ports 80 and 443; or a "
        "comma-separated list of `host`, `host:port` and networks (`10.1.0.0/16`, any port) that are "
        "allowed besides the public ones.",
    )

    rate_limit: Annotated[tuple[Rate, ...], _parsed_by(parse_rates)] = Field(
        default=(),
        description="How many requests each key, or else each address, may send, such as `60/minute` or "
        "`10/second;1000/hour`. Each process counts for itself. See [Quotas](access.md#quotas).",
    )
    cors_origins: Annotated[CorsPolicy, _parsed_by(CorsPolicy.parse)] = Field(
        default=CorsPolicy(),
        description="Comma-separated origins (`https://museum.example`) whose pages may ask from a browser, or `*`. "
        "See [Browsers](access.md#browsers).",
    )
    hosts: Annotated[Hosts, _parsed_by(Hosts.parse)] = Field(
        default=Hosts(),
        description="Where no keys are set: comma-separated names, besides that of `GAZE_PUBLIC_URL`, that callers "
        "may use for this service in the header `Host`, or `*` for any. IP addresses, names without a dot"
        " and names for private use (`.internal`, `.local`, `.home.arpa`, `.svc`) need not be named. See "
        "[Without keys](access.md#without-keys).",
    )
    trusted_proxies: Annotated[tuple[Network, ...], _parsed_by(parse_networks)] = Field(
        default=(),
        description="Comma-separated addresses and networks (`127.0.0.1,10.1.0.0/16`) of proxies whose "
        "`X-Forwarded-For` is believed.",
    )

    @field_validator("host")
    @classmethod
    def _listenable(cls, host: str) -> str:
        bare = re.sub(r"^\[(.*)\]$", r"\1", host.strip())
        if ":" in bare or bare != host.strip():
            try:
                ipaddress.IPv6Address(bare)
            except ValueError:
                raise ValueError("it is no IPv6 address, as :: or [::1]; the port is GAZE_PORT") from None
        elif not _HOST.fullmatch(bare):
            raise ValueError("it is neither an address nor the name of a host")
        return bare

    @field_validator("lists_dir", "cache_dir")
    @classmethod
    def _at_home(cls, folder: Path | None) -> Path | None:
        try:
            return folder and folder.expanduser()
        except RuntimeError:
            raise ValueError("there is no home that the ~ could stand for") from None

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split(cls, keys: Any) -> Any:
        if not isinstance(keys, str):
            return keys
        split = tuple(key.strip() for key in keys.split(",") if key.strip())
        if not split:
            # Whoever sets the variable wants the service closed: it must not stand open for a stray comma.
            raise ValueError("there is no key in it; leave it unset to let everyone in")
        return split

    @field_validator("api_keys")
    @classmethod
    def _usable(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_KEY.fullmatch(key) for key in keys):
            raise ValueError("each key must be 1 to 256 printable ASCII characters without blanks and commas")
        return keys

    @field_validator("url_fetch")
    @classmethod
    def _parsable(cls, text: str) -> str:
        FetchPolicy.parse(text)
        return text

    @property
    def listens_on(self) -> str:
        """The host and the port that a socket is bound to, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def own_address(self) -> str:
        """A URL at which this machine's own programs reach the service."""
        host = {"::": "::1", "0.0.0.0": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104  # it is not bound to here
        # A zone's % is escaped (RFC 6874).
        netloc = f"[{host.replace('%', '%25')}]" if ":" in host else host
        return f"http://{netloc}:{self.port}"

    @property
    def fetch_policy(self) -> FetchPolicy:
        """What `url_fetch` allows."""
        return FetchPolicy.parse(self.url_fetch)


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings that the environment gives.

    Raises InvalidSettings, which names the variable and not its value.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise InvalidSettings(f"There is no setting {unknown[0]}; the settings are {', '.join(sorted(known))}.")
    # An empty variable counts as none: compose files pass on what is not set as an empty string. A file of variables
    # that was written on Windows leaves a carriage return behind each. Keys that are blank are refused, not left out.
    given = {
        name.removeprefix(PREFIX).lower(): value.strip()
        for name, value in environment.items()
        if name in known and (value.strip() or (value and name == f"{PREFIX}API_KEYS"))
    }
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        reason = first["msg"].removeprefix("Value error, ")
        raise InvalidSettings(f"{PREFIX}{str(first['loc'][0]).upper()} is invalid: {reason}.") from None
