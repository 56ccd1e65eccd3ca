"""Which addresses the vendor can be given as an input image."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.links import input_image


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("https://images.example/cup.png", id="an https link"),
        pytest.param("https://images.example:8443/cup.png?X-Amz-Signature=1#a", id="a port, a query and a fragment"),
        pytest.param("HTTPS://images.example/cup.png", id="a scheme in capitals"),
        pytest.param("https://8.8.8.8/cup.png", id="a public address"),
        pytest.param("https://[2606:4700::1]/cup.png", id="a public address, version 6"),
        pytest.param("https://[64:ff9b::808:808]/cup.png", id="a public address through NAT64"),
        pytest.param("https://images.example/" + "a" * 4073, id="4096 characters"),
        pytest.param("https://3.images.example/cup.png", id="a name that begins with a number"),
        pytest.param("http://localhost:9000/cup.png", id="this machine, for the emulator"),
        pytest.param("http://127.0.0.1:9000/cup.png", id="this machine by its address"),
        pytest.param("s3://my-bucket/photos/cup of tea.png", id="an object on S3"),
        pytest.param("s3://my.bucket/ü\n?#", id="an object of any name"),
    ],
)
def test_takes_what_the_vendor_can_be_given(address: str) -> None:
    assert input_image("init_image", address) == address


@pytest.mark.parametrize(
    ("address", "said"),
    [
        pytest.param("/home/me/cup.png", "is not an https link nor s3://", id="a local file"),
        pytest.param("file:///home/me/cup.png", "A local file cannot be sent", id="a local file as a link"),
        pytest.param("data:image/png;base64,AAAA", "is not an https link", id="a data link"),
        pytest.param("ftp://images.example/cup.png", "is not an https link", id="another scheme"),
        pytest.param("https:///cup.png", "is not an https link", id="no host"),
        pytest.param("https://[bad/cup.png", "is not an https link", id="half a bracket"),
        pytest.param("https://images.example:99999/cup.png", "is not an https link", id="a port that is none"),
        pytest.param("s3://my-bucket", "is not an https link", id="a bucket alone"),
        pytest.param("s3://My_Bucket/cup.png", "is not an https link", id="a bucket that cannot exist"),
        pytest.param("", "is not an https link", id="nothing"),
        pytest.param("https://images.example/a cup.png", "holds a space", id="a space"),
        pytest.param("https://images.example/cup.png\n", "holds a space", id="a line feed at the end"),
        pytest.param("https://127.0.0.1\\@images.example/", "holds a space, a backslash", id="a backslash"),
        pytest.param("https://images.example/tasse-é.png", "outside of ASCII", id="a letter outside of ASCII"),
        pytest.param("https://images.example/\x7f", "holds a space", id="a control character"),
        pytest.param("https://me@images.example/cup.png", "a user name", id="a user name"),
        pytest.param("https://:pw@images.example/cup.png", "a password", id="a password"),
        pytest.param("https://images.example/" + "a" * 4074, "more than 4096 characters", id="4097 characters"),
        pytest.param("http://images.example/cup.png", "must be an https link", id="http"),
        pytest.param("https://10.1.2.3/cup.png", "the vendor's servers can open", id="a private address"),
        pytest.param("https://169.254.169.254/latest", "the vendor's servers can open", id="a cloud's metadata"),
        pytest.param("https://[fd00:ec2::254]/latest", "the vendor's servers can open", id="a cloud's, version 6"),
        pytest.param("https://[::ffff:127.0.0.1]/", "the vendor's servers can open", id="this machine, mapped"),
        pytest.param("https://224.0.0.1/cup.png", "the vendor's servers can open", id="a multicast address"),
        pytest.param("https://127.1/cup.png", "the vendor's servers can open", id="this machine, cut short"),
        pytest.param("https://2130706433/cup.png", "the vendor's servers can open", id="this machine as one number"),
        pytest.param("https://0x7F000001/cup.png", "the vendor's servers can open", id="the same in base sixteen"),
        pytest.param("https://0177.0.0.1./cup.png", "the vendor's servers can open", id="the same in base eight"),
        pytest.param("https://[64:ff9b::7f00:1]/", "the vendor's servers can open", id="this machine through NAT64"),
        pytest.param("https://[2002:7f00:1::]/", "the vendor's servers can open", id="this machine through 6to4"),
        pytest.param("https://192.88.99.1/", "the vendor's servers can open", id="a relay of 6to4"),
        pytest.param("https://photos.internal/cup.png", "the vendor's servers can open", id="an internal name"),
        pytest.param("https://NAS.local./cup.png", "the vendor's servers can open", id="a local name"),
    ],
)
def test_refuses_what_the_vendor_cannot_be_given(address: str, said: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        input_image("init_image", address)
    assert str(caught.value).startswith("init_image: ")
    assert said in str(caught.value)


@pytest.mark.parametrize("address", ["http://h.example/x?sig=SECRET", "https://h.example/a b?sig=SECRET", "x?SECRET"])
def test_a_refusal_shows_no_query(address: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        input_image("init_image", address)
    assert "SECRET" not in str(caught.value)


@given(st.text(st.characters(), max_size=40).flatmap(lambda rest: st.sampled_from([rest, "https://" + rest])))
def test_any_text_is_taken_or_refused(address: str) -> None:
    try:
        assert input_image("init_image", address) == address
    except InvalidParameters as error:
        assert len(str(error)) < 500  # noqa: PT017 - raising is only one of two good ends
