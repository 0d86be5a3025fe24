"""The SDK worker that a Beam engine starts where this project is installed.

``inception-finetune-sdk-worker`` is the command of the environments PROCESS and EXTERNAL: an
engine gives it an id and an address, and asks there for everything else. Beam's own counterpart
is a compiled program inside its container images.
"""

import argparse
import os
import sys
from collections.abc import Sequence

COMMAND = "inception-finetune-sdk-worker"
_PATIENCE = 60  # seconds, for the engine's first answer


def main(argv: Sequence[str] | None = None) -> None:
    """Works until the engine closes the connection.

    Args:
      argv: arguments of the command; those of the process if None.
    """
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--id", required=True, help="The worker's name, from the engine.")
    parser.add_argument("--provision_endpoint", required=True, help="Where the engine tells more.")
    arguments, _ = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    os.environ.update(_environment(arguments.id, arguments.provision_endpoint))
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main([])


def _environment(worker_id: str, provision_endpoint: str) -> dict[str, str]:
    """Returns the environment variables that Beam's Python worker reads."""
    import grpc
    from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
    from google.protobuf import json_format

    with grpc.insecure_channel(provision_endpoint) as channel:
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        info = stub.GetProvisionInfo(
            beam_provision_api_pb2.GetProvisionInfoRequest(),
            metadata=(("worker_id", worker_id),),
            timeout=_PATIENCE,
            wait_for_ready=True,
        ).info
    environment = {
        "WORKER_ID": worker_id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "LOGGING_API_SERVICE_DESCRIPTOR": str(info.logging_endpoint),
        "CONTROL_API_SERVICE_DESCRIPTOR": str(info.control_endpoint),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    if info.HasField("status_endpoint"):
        environment["STATUS_API_SERVICE_DESCRIPTOR"] = str(info.status_endpoint)
    return environment
