"""An object store on this machine's loopback, as MinIO is to a cluster; `conftest.py` shares it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

BUCKET: Final = "pipelines"


@contextmanager
def serving_s3() -> Iterator[dict[str, str]]:
    """The environment by which the store is found; it is empty but for one bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "replay",
        "AWS_SECRET_ACCESS_KEY": "replay",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id="replay",
        aws_secret_access_key="replay",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=BUCKET)
    yield environment
    server.stop()
