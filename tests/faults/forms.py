"""Forms as bytes."""

BOUNDARY = "multipart/form-data; boundary=b"


def form_of(picture: bytes) -> bytes:
    return (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + picture + b"\r\n"
        b'--b\r\nContent-Disposition: form-data; name="lists"\r\n\r\nqualities\r\n--b--\r\n'
    )
