"""What is shown of an address holds neither passwords nor signatures."""

import pytest

from inception_finetune.components.io.address import public_address, without_secrets


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("http://host/a.tar.gz", "http://host/a.tar.gz"),
        ("HTTPS://alice:p@ss@host:8/a?X-Amz-Signature=1&b=2 3#x", "HTTPS://host:8/a"),
        ("https://token@host/a@b/c", "https://host/a@b/c"),
        ("s3://key:secret@bucket/a?b", "s3://bucket/a?b"),
        ("/a folder/what?/#1", "/a folder/what?/#1"),
        ("digits", "digits"),
    ],
)
def test_public_address(address, public):
    assert public_address(address) == public


def test_addresses_amid_a_sentence():
    text = (
        "No http://a:b@h/x?sig=1. Nor 'https://h/y?sig=2': (http://h/z#3). s3://b/k? is a@b, or c?"
    )
    assert without_secrets(text) == (
        "No http://h/x. Nor 'https://h/y': (http://h/z). s3://b/k? is a@b, or c?"
    )
