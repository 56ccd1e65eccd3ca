"""Which addresses the vendor can be given as an input image."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.links import checked_identity, input_image, link_identity, query_of


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
        pytest.param("s3://my bucket/cup.png", "is not an https link", id="a bucket that cannot exist"),
        pytest.param("s3://ab/cup.png", "is not an https link", id="a bucket of two characters"),
        pytest.param(f"s3://{'b' * 256}/cup.png", "is not an https link", id="a bucket of 256 characters"),
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


PHOTO = "https://photos.test/in/cup.jpg"
SCHEMES = {
    "AWS, version 4": "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={0}&X-Amz-Date=2026112{1}T000000Z"
    "&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Security-Token=t{1}&X-Amz-Signature={0}",
    "AWS, version 2": "AWSAccessKeyId=a{1}&Signature={0}%3D&Expires=179584733{1}",
    "CloudFront": "Key-Pair-Id=K&Signature={0}&Expires=179584733{1}",
    "CloudFront with a policy": "Policy={0}&Key-Pair-Id=K&Signature={0}",
    "Google, version 4": "X-Goog-Algorithm=G&X-Goog-Credential=a&X-Goog-Date=2026112{1}T000000Z&X-Goog-Signature={0}",
    "Google, version 2": "GoogleAccessId=a&Expires=179584733{1}&Signature={0}",
    "Azure": "sv=2022-11-02&st=2026-11-2{1}T00%3A00%3A00Z&se=2026-12-0{1}T00%3A00%3A00Z&sr=b&sp=r&sig={0}%3D",
    "Aliyun OSS, version 1": "OSSAccessKeyId=a{1}&Expires=179584733{1}&Signature={0}&security-token={0}",
    "Aliyun OSS, version 4": "x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-credential=a&x-oss-date=2026112{1}T000000Z"
    "&x-oss-expires=60&x-oss-signature={0}",
    "Aliyun CDN": "auth_key=179584733{1}-0-0-{0}",
    "Tencent COS": "q-sign-algorithm=sha1&q-ak=a&q-sign-time=1;{1}&q-key-time=1;{1}&q-header-list=host"
    "&q-url-param-list=&q-signature={0}",
    "Tencent CDN": "sign={0}&t=6567890{1}",
    "Huawei OBS": "AccessKeyId=a&Expires=179584733{1}&Signature={0}",
    "Volcengine TOS": "X-Tos-Algorithm=T&X-Tos-Credential=a&X-Tos-Date=d{1}&X-Tos-Expires=60&X-Tos-Signature={0}",
    "Qiniu": "e=179584733{1}&token={0}:{0}=",
    "Akamai hdnts": "hdnts=exp=179584733{1}~acl=/*~hmac={0}",
    "Akamai hdnea": "hdnea=st=1~exp=2~acl=/*~hmac={0}",
    "Discord": "ex=6567890{1}&is=6567890{1}&hm={0}{0}",
    "a date and a signature": "exp=179584733{1}&sig={0}",
    "a date and a signature in full": "expires=2026-11-2{1}T00:00:00Z&signature={0}",
}


@pytest.mark.real_input("C6")
@pytest.mark.parametrize("query", [pytest.param(query, id=scheme) for scheme, query in SCHEMES.items()])
def test_what_a_known_scheme_signs_with_is_no_part_of_a_link(query: str) -> None:
    for number, digit in enumerate("af"):
        signing = query.format(digit * 32, number)
        assert link_identity(f"{PHOTO}?{signing}#top") == PHOTO
        assert link_identity(f"{PHOTO}?w=80&{signing}&id=7") == f"{PHOTO}?w=80&id=7"


@pytest.mark.fault(106)
@pytest.mark.real_input("C6")
@pytest.mark.parametrize(
    "query",
    [
        *("token=AAA", "key=AAA", "sig=0123456789abcdef0123", "signature=abc", "sign=1", "expires=1795847337", "se=1"),
        *("policy=small", "t=6567890a", "e=1795847337&token=AAA", "exp=1795847337&token=0123456789abcdef0123", "sp=r"),
        *(
            "exp=soon&sig=0123456789abcdef0123",
            "exp=1795847337&sig=left",
            "sv=1&se=2",
            "Expires=1795847337&Signature=x",
        ),
        *("x-oss-process=image/resize,w_80", "versionId=3", "id=7&v=2", "q-ak=a&q-signature=b", "ex=1&is=2&hm=3"),
    ],
)
def test_what_may_tell_one_image_from_another_is_a_part_of_a_link(query: str) -> None:
    assert link_identity(f"{PHOTO}?{query}") == f"{PHOTO}?{query}"


def test_the_user_says_what_of_a_link_counts() -> None:
    link = f"{PHOTO}?id=7&v=2&token=A#top"
    assert link_identity(link, "path") == PHOTO
    assert link_identity(link, "link") == link.partition("#")[0]
    assert link_identity(link, ("v", "id", "none")) == f"{PHOTO}?id=7&v=2"
    assert link_identity("s3://bucket/a?token=1", "path") == "s3://bucket/a?token=1"
    assert query_of(f"{PHOTO}?id=7&x=1&x=2&flag#top") == {"id": "7", "x": "1&2", "flag": ""}


@pytest.mark.parametrize("value", ["query", "", [], ["a", 1], 7, {"a": 1}])
def test_an_identity_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(InvalidParameters, match="link_identity: "):
        checked_identity(value)
    assert checked_identity(["id"]) == ("id",)
