"""Which servers a configuration may name."""

import pytest

from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import load_config

WORDS = ("tensorflow_model_server", "--model_base_path={model_base_path}", "--port={grpc_port}")


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("serve", "serve"),
        ("none", "none"),
        (f"[{', '.join(repr(word) for word in WORDS)}]", WORDS),
    ],
)
def test_servers(text, server):
    assert load_config("digits", [f"infra.server={text}"]).infra.server == server


def test_it_is_on_by_default():
    assert load_config("digits").infra.server == "serve"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("infra.server=tfserving", "infra.server: must be serve, none or a list of the words"),
        ("infra.server={x: y}", "infra.server: must be serve, none or a list of the words"),
        (
            "infra.server=[x, '{rest_port}']",
            "infra.server: a command line must be told {model_base_path}",
        ),
        ("infra.server=[x, '{model_base_path}', '{rest-port}']", "and {rest_port}, {grpc_port} or"),
        ("infra.pictures=0", "infra.pictures: Input should be greater than or equal to 1"),
        ("infra.max_memory=0", "infra.max_memory: Input should be greater than 0"),
        ("infra.memory=1", "unknown key infra.memory"),
    ],
)
def test_what_is_no_server_is_refused_by_name(override, said):
    with pytest.raises(UserError) as caught:
        load_config("digits", [override])
    assert said in str(caught.value) and "\n" not in str(caught.value)
