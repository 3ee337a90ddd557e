"""URLs as people write them, and what browsers ask for in their stead: one text, for whoever vets and whoever asks."""

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.images.fetch.urls import encoded, redirected

HERE = "https://museum.example/bilder/alt.png"


# What `new URL(…).href` gives in Node, but for fragments, the case of schemes, and other schemes.
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/b%2Fc?d=%20", "https://a.example/b%2Fc?d=%20"),
        ("https://a.example/Öl auf Holz/größe 1.png", "https://a.example/%C3%96l%20auf%20Holz/gr%C3%B6%C3%9Fe%201.png"),
        ("https://a.example/%C3%96l auf%20Holz", "https://a.example/%C3%96l%20auf%20Holz"),
        (" \t\r\nhttps://a.example/b.png \n", "https://a.example/b.png"),
        ("https://a.example/100%.png", "https://a.example/100%.png"),
        ("https://a.example/b?größe=ü'\"<>", "https://a.example/b?gr%C3%B6%C3%9Fe=%C3%BC%27%22%3C%3E"),
        ('https://a.example/"<>`{}', "https://a.example/%22%3C%3E%60%7B%7D"),
        ("https://a.example/!$&'()*+,;=:@|[]~-._^", "https://a.example/!$&'()*+,;=:@|[]~-._^"),
        ("https://a.example/b\\c.png", "https://a.example/b/c.png"),
        ("https://a.example/b?c\\d", "https://a.example/b?c\\d"),
        ("https://a.example/b?c=/?:@", "https://a.example/b?c=/?:@"),
        ("https://a.example/b#größe", "https://a.example/b"),
        ("https://a.example?b", "https://a.example?b"),
        ("https://a.example/\u2028\U0001f5bc", "https://a.example/%E2%80%A8%F0%9F%96%BC"),
        ("https://MÜNCHEN.example:8080/b", "https://xn--mnchen-3ya.example:8080/b"),
        ("https://straße.example/", "https://xn--strae-oqa.example/"),
        ("https://museum。example/", "https://museum.example/"),
        ("https://例え.テスト/図", "https://xn--r8jz45g.xn--zckzah/%E5%9B%B3"),
        ("HTTPS://a.example/ä", "HTTPS://a.example/%C3%A4"),
        ("ftp://a.example/ä", "ftp://a.example/ä"),
        ("ä.png", "ä.png"),
    ],
)
def test_a_url_is_encoded_as_browsers_do(url: str, expected: str) -> None:
    assert encoded(url) == expected
    assert encoded(expected) == expected


@pytest.mark.parametrize(
    "url",
    [
        *("https://a.example/\r\nHost: b", "https://a\t.example/", "https://a.example/\0", "https://a.example/\x7f"),
        *("https://ä.example:80:80/", "https://ä@b.example/", "https://[ä]/", "https://ä.example:x/"),
        *("https://a.example/\ud800", "https://\ud800.example/", "https://☃.example/", "https://ä_b.example/"),
        *("https://①②⑦.⓪.⓪.①/", "https://２１３０７０６４３３/", "https://ä.0x7f/", "https://ä.example.1./"),
        *("https://ä.example／b/", "https://ä.example＃b/", "https://ä.example？b/", "https://ä.example＼b/"),
        *(
            f"https://{'.'.join(['ä' * 40] * 8)}/",
            f"https://{'ä' * 254}/",
            f"https://{'ä' * 64}.example/",
            "https://ä..example:/\n/",
        ),
    ],
)
def test_what_is_not_the_same_url_to_all_who_read_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        encoded(url)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("größe 1.png".encode(), "https://museum.example/bilder/gr%C3%B6%C3%9Fe%201.png"),
        ("größe 1.png".encode("latin-1"), "https://museum.example/bilder/gr%F6%DFe%201.png"),
        (b" /b.png ", "https://museum.example/b.png"),
        (b"?c=1#d", "https://museum.example/bilder/alt.png?c=1"),
        (b"\\b\\c.png", "https://museum.example/bilder//b/c.png"),
        ("//münchen.example/b".encode(), "https://xn--mnchen-3ya.example/b"),
        ("http://münchen.example/ä".encode(), "http://xn--mnchen-3ya.example/%C3%A4"),
    ],
)
def test_where_a_location_leads_to(location: bytes, expected: str) -> None:
    assert redirected(HERE, location.decode("latin-1")) == expected


@given(
    st.text(st.characters(max_codepoint=0x3FF) | st.sampled_from("/\\@:#?[]%.。／＠①\u200b\u00ad"), max_size=30),
    st.text(max_size=20),
)
@example("a@b", "c")
@example("a／b.é", "c")
@example("[::1", "]")
@example(" 0", "")
@example("\\", "")
@example("ä\\@b", "")
def test_nothing_is_left_that_two_readers_could_take_for_two_hosts(host: str, path: str) -> None:
    """Either it is refused, or what is encoded has one host, which encoding it once more leaves as it is."""
    try:
        url = encoded(f"http://{host}/{path}")
        parts = urlsplit(url)
    except ValueError:
        return
    assert not set(url) & set("\r\n\t\0#")
    assert encoded(url) == url
    if not parts.netloc.isascii() or not url.startswith("http://"):
        raise AssertionError(url)
    if host.isascii():
        assert url.startswith("http://" + host.partition("/")[0].partition("?")[0].partition("#")[0])
