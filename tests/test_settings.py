"""What the environment may say, what it may not, and that no value is ever told back."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.api.access.browsers import CorsPolicy, Hosts
from service.api.access.callers import Rate, parse_networks
from service.errors import InvalidSettings
from service.settings import Settings, read_settings

SECRET = "hunter2-hunter2"


def test_defaults() -> None:
    assert read_settings({}).model_dump() == {
        "model": "openai/clip-vit-base-patch32",
        "revision": None,
        "host": "127.0.0.1",
        "port": 8000,
        "lists_dir": None,
        "cache_dir": None,
        "device": "auto",
        "backend": "auto",
        "precision": "auto",
        "decode": "exact",
        "workers": 1,
        "threads": None,
        "api_keys": (),
        "max_request_bytes": 64 * 1024 * 1024,
        "max_image_bytes": 32 * 1024 * 1024,
        "max_image_pixels": 50_000_000,
        "max_phrases": 2000,
        "request_timeout": 60.0,
        "url_fetch": "public",
        "rate_limit": (),
        "cors_origins": {"origins": frozenset(), "every": False},
        "trusted_proxies": (),
        "public_url": None,
        "hosts": {"names": frozenset(), "every": False},
    }


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("GAZE_MODEL", "demo", "demo"),
        ("GAZE_REVISION", "refs/pr/3", "refs/pr/3"),
        ("GAZE_HOST", "0.0.0.0", "0.0.0.0"),
        ("GAZE_HOST", "::", "::"),
        ("GAZE_HOST", "[::]", "::"),
        ("GAZE_HOST", " [::1] ", "::1"),
        ("GAZE_HOST", "[fe80::1%eth0]", "fe80::1%eth0"),
        ("GAZE_HOST", "::ffff:127.0.0.1", "::ffff:127.0.0.1"),
        ("GAZE_HOST", "gaze.museum.example", "gaze.museum.example"),
        ("GAZE_PORT", "1", 1),
        ("GAZE_PORT", "65535", 65535),
        ("GAZE_LISTS_DIR", "museum/lists", Path("museum/lists")),
        ("GAZE_CACHE_DIR", "/var/cache/gaze", Path("/var/cache/gaze")),
        ("GAZE_DEVICE", "cuda", "cuda"),
        ("GAZE_BACKEND", "torch", "torch"),
        ("GAZE_BACKEND", "openvino", "openvino"),
        ("GAZE_PRECISION", "float32", "float32"),
        ("GAZE_PRECISION", "bfloat16", "bfloat16"),
        ("GAZE_PRECISION", "float16", "float16"),
        ("GAZE_DECODE", "fast", "fast"),
        ("GAZE_WORKERS", "4", 4),
        ("GAZE_THREADS", "16", 16),
        ("GAZE_API_KEYS", "one", ("one",)),
        ("GAZE_API_KEYS", " one, two ,,", ("one", "two")),
        ("GAZE_API_KEYS", "k" * 256, ("k" * 256,)),
        ("GAZE_MAX_REQUEST_BYTES", "1024", 1024),
        ("GAZE_MAX_IMAGE_BYTES", "1048576", 1048576),
        ("GAZE_MAX_IMAGE_PIXELS", "178956970", 178956970),
        ("GAZE_MAX_PHRASES", "100000", 100_000),
        ("GAZE_REQUEST_TIMEOUT", "0.5", 0.5),
        ("GAZE_URL_FETCH", "off", "off"),
        ("GAZE_RATE_LIMIT", "10/second; 1000/hour", (Rate(10, 1), Rate(1000, 3600))),
        (
            "GAZE_CORS_ORIGINS",
            "https://a.example, http://b.example:81",
            CorsPolicy.parse("http://b.example:81,https://a.example"),
        ),
        ("GAZE_CORS_ORIGINS", "*", CorsPolicy(every=True)),
        ("GAZE_HOSTS", "gaze.example, Gaze.Museum.example.", Hosts(frozenset({"gaze.example", "gaze.museum.example"}))),
        ("GAZE_HOSTS", "*", Hosts(every=True)),
        ("GAZE_TRUSTED_PROXIES", "10.0.0.0/8, ::1", parse_networks("10.0.0.0/8,::1")),
        ("GAZE_URL_FETCH", "museum.example:8080,10.1.0.0/16", "museum.example:8080,10.1.0.0/16"),
    ],
)
def test_each_setting_is_read(name: str, value: str, expected: Any) -> None:
    settings = read_settings({name: value, "PATH": "/usr/bin"})
    assert getattr(settings, name.removeprefix("GAZE_").lower()) == expected
    unset = read_settings({}).model_dump(exclude={name.removeprefix("GAZE_").lower()})
    assert settings.model_dump(exclude={name.removeprefix("GAZE_").lower()}) == unset


@pytest.mark.parametrize(
    "name", ["GAZE_MODELS", "GAZE_model", "GAZE_", "GAZE_API_KEY", "GAZE_PORT_8000_TCP", "GAZE_FETCH_POLICY"]
)
def test_an_unknown_name_is_refused_and_the_known_ones_are_named(name: str) -> None:
    with pytest.raises(InvalidSettings) as raised:
        read_settings({name: SECRET, "GAZE_PORT": "9000"})
    assert str(raised.value).startswith(f"There is no setting {name}; the settings are GAZE_API_KEYS, GAZE_BACKEND, ")
    assert SECRET not in str(raised.value)
    for field in Settings.model_fields:
        assert f"GAZE_{field.upper()}" in str(raised.value)


def test_other_programs_variables_are_no_settings() -> None:
    assert read_settings({"HF_HOME": "a", "gaze_port": "1", "XGAZE_PORT": "2", "GAZER": "3"}) == read_settings({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GAZE_MODEL", "m" * 1001),
        *(("GAZE_REVISION", value) for value in ("a b", "a;b", "a" * 201, "ma\nin", "ä\u2028ä")),
        *(("GAZE_PORT", value) for value in ("0", "65536", "-1", "http", "80.5", "8000/tcp", "9" * 5000)),
        # What Kubernetes sets for a Service that is called gaze.
        ("GAZE_PORT", "tcp://10.96.0.17:8000"),
        *(("GAZE_DEVICE", value) for value in ("gpu", "CPU", "cuda:0", "mps")),
        *(("GAZE_BACKEND", value) for value in ("onnx", "Torch", "openvino,torch")),
        *(("GAZE_PRECISION", value) for value in ("fp16", "half", "32", "bf16", "FLOAT32", "int8")),
        *(("GAZE_DECODE", value) for value in ("quick", "Fast", "draft", "1")),
        *(("GAZE_WORKERS", value) for value in ("0", "65", "two")),
        *(("GAZE_THREADS", value) for value in ("0", "1025", "auto")),
        *(("GAZE_API_KEYS", value) for value in (f"{SECRET} x", f"{SECRET}\n{SECRET}", f"ok,{SECRET}ä", "k" * 257)),
        *(("GAZE_API_KEYS", value) for value in (" ", ",", " , ")),
        *(("GAZE_MAX_REQUEST_BYTES", value) for value in ("0", "64MB", "1e9999", "1073741825")),
        *(("GAZE_MAX_IMAGE_BYTES", value) for value in ("1023", "-1", "32 MiB")),
        *(("GAZE_MAX_IMAGE_PIXELS", value) for value in ("0", "178956971", "fifty")),
        *(("GAZE_MAX_PHRASES", value) for value in ("0", "100001", "none")),
        *(("GAZE_REQUEST_TIMEOUT", value) for value in ("0", "-1", "3601", "nan", "inf", "60s")),
        *(("GAZE_RATE_LIMIT", value) for value in ("60", "sixty/minute", "0/day", "60/minute;")),
        *(
            ("GAZE_CORS_ORIGINS", value)
            for value in ("museum.example", "https://museum.example/", "*,https://a.example")
        ),
        *(
            ("GAZE_HOSTS", value)
            for value in ("https://gaze.example", "gaze.example:80", "*,gaze.example", "*.example")
        ),
        *(("GAZE_TRUSTED_PROXIES", value) for value in ("proxy.example", "10.1.2.3/16", "10.0.0.1:80")),
        *(("GAZE_URL_FETCH", value) for value in ("none,", "http://museum.example", "10.1.2.3/16", "[::zz]:80")),
    ],
)
def test_an_invalid_value_is_refused_without_being_told(name: str, value: str) -> None:
    with pytest.raises(InvalidSettings) as raised:
        read_settings({"GAZE_MODEL": "demo", name: value})
    message = str(raised.value)
    assert re.fullmatch(rf"{name} is invalid: [^\n]+[^.]\.", message)
    assert SECRET not in message
    if len(value.strip()) > 4:
        assert value not in message
    assert raised.value.__suppress_context__
    assert raised.value.exit_code == 78


def test_an_empty_variable_counts_as_unset() -> None:
    assert read_settings({f"GAZE_{name.upper()}": "" for name in Settings.model_fields}) == read_settings({})


@pytest.mark.parametrize("blank", [" ", "\r", "\r\n"])
def test_blanks_around_a_value_do_not_count(blank: str) -> None:
    given = {
        "GAZE_MODEL": "demo",
        "GAZE_REVISION": "main",
        "GAZE_DEVICE": "cpu",
        "GAZE_LISTS_DIR": "/lists",
        "GAZE_PUBLIC_URL": "https://gaze.example",
        "GAZE_API_KEYS": "one,two",
    }
    assert read_settings({name: f"{blank}{value}{blank}" for name, value in given.items()}) == read_settings(given)
    unset = {f"GAZE_{name.upper()}": blank for name in Settings.model_fields if name != "api_keys"}
    assert read_settings(unset) == read_settings({})
    with pytest.raises(InvalidSettings, match="there is no key in it"):
        read_settings({"GAZE_API_KEYS": blank})


def test_a_tilde_is_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/user")
    settings = read_settings({"GAZE_LISTS_DIR": "~/lists", "GAZE_CACHE_DIR": "~"})
    assert (settings.lists_dir, settings.cache_dir) == (Path("/home/user/lists"), Path("/home/user"))
    with pytest.raises(InvalidSettings, match="GAZE_CACHE_DIR is invalid: there is no home that the ~ could stand for"):
        read_settings({"GAZE_CACHE_DIR": "~no-such-user/cache"})


def test_settings_cannot_be_changed() -> None:
    settings = read_settings({})
    with pytest.raises(ValidationError):
        settings.port = 9000
    assert settings.port == 8000


def test_keys_are_in_no_representation() -> None:
    settings = read_settings({"GAZE_API_KEYS": SECRET})
    assert settings.api_keys == (SECRET,)
    for text in (repr(settings), str(settings), f"{settings}"):
        assert SECRET not in text
        assert "port=8000" in text


def test_the_fetch_policy_is_what_the_setting_says() -> None:
    assert not read_settings({"GAZE_URL_FETCH": "off"}).fetch_policy.enabled
    policy = read_settings({"GAZE_URL_FETCH": "museum.example:8080"}).fetch_policy
    assert policy.enabled
    assert policy.hosts == {("museum.example", 8080)}


def test_the_process_environment_is_read_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAZE_PORT", "8123")
    assert read_settings().port == 8123


def test_every_setting_says_what_it_is_for() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


@pytest.mark.parametrize(
    ("host", "listens_on", "own_address"),
    [
        ("127.0.0.1", "127.0.0.1:80", "http://127.0.0.1:80"),
        ("0.0.0.0", "0.0.0.0:80", "http://127.0.0.1:80"),
        ("localhost", "localhost:80", "http://localhost:80"),
        ("[::]", "[::]:80", "http://[::1]:80"),
        ("::", "[::]:80", "http://[::1]:80"),
        ("2001:db8::1", "[2001:db8::1]:80", "http://[2001:db8::1]:80"),
        ("fe80::1%eth0", "[fe80::1%eth0]:80", "http://[fe80::1%25eth0]:80"),
    ],
)
def test_address_is_one_that_works(host: str, listens_on: str, own_address: str) -> None:
    settings = read_settings({"GAZE_HOST": host, "GAZE_PORT": "80"})
    assert (settings.listens_on, settings.own_address) == (listens_on, own_address)


@pytest.mark.parametrize(
    "host", ["[", "[]", "[::", "::]", "[127.0.0.1]", "127.0.0.1:8000", "[::]:8000", ":::", "a b", "http://x", "é", "%"]
)
def test_host_that_cannot_be_listened_on(host: str) -> None:
    with pytest.raises(InvalidSettings, match="GAZE_HOST is invalid: it is n"):
        read_settings({"GAZE_HOST": host})
