"""Runs the server until it is told to end."""

import asyncio
import ipaddress
import signal
import sys
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.serving.app import Server
from inception_finetune.pipeline.serving.canary import Canary
from inception_finetune.pipeline.serving.limits import Limits
from inception_finetune.pipeline.serving.metrics import Metrics
from inception_finetune.pipeline.serving.versions import Versions


def serve(
    name: str, folder: Path, *, host: str, port: int, limits: Limits, canary: Canary | None = None
) -> None:
    """Serves the versions in a folder until SIGINT or SIGTERM, and answers what is in flight.

    Args:
      name: of the model, as the routes have it.
      folder: the folder that versions are pushed to.
      host: name or address to listen on.
      port: 0 takes a free one.
      limits: what requests may cost.
      canary: a version that gets a share of the requests.

    Raises:
      UserError: it cannot listen there, or no version can be loaded.
    """
    asyncio.run(_serve(name, folder, host, port, limits, canary))


async def _serve(
    name: str, folder: Path, host: str, port: int, limits: Limits, canary: Canary | None
) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
    versions = Versions(folder, metrics, _say, canary.version if canary else None)
    server = Server(name, versions, metrics, limits, canary)
    runner = web.AppRunner(
        server.application(),
        access_log=None,
        auto_decompress=False,  # pictures do not get smaller, and bombs would grow
        keepalive_timeout=limits.idle_seconds,
        shutdown_timeout=limits.shutdown_seconds,
    )
    await runner.setup()
    follow = None
    try:
        await _listen(runner, host, port)
        _say(f"listening on {_shown(runner)}, loading {name}")
        await versions.look()
        if versions.current is None:
            raise UserError(_why_none(versions, folder))
        if canary and versions.canary is None:
            _say(f"no version {canary.version} can be loaded: all requests go to the other one")
        _say(f"{name} is ready; Ctrl-C ends it")
        follow = asyncio.create_task(versions.follow(limits.poll_seconds))
        await asyncio.wait(
            [follow, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED
        )
        if follow.done():
            follow.result()  # it ends by an exception alone
        _say("ending: requests in flight are answered, no new ones are taken")
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)  # the next one ends it at once
        for site in runner.sites:
            await site.stop()
        await server.drain()
        for agreement in server.comparisons.agreements:
            _say(str(agreement))
    finally:
        if follow:
            follow.cancel()
            with suppress(asyncio.CancelledError):
                await follow
        await runner.cleanup()
        server.close()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise UserError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}. Give another --host or "
            "--port."
        ) from error
    if not all(ipaddress.ip_address(address[0]).is_loopback for address in runner.addresses):
        _say(f"whoever reaches {host}:{port} may ask: there are no passwords and no encryption")


def _shown(runner: web.AppRunner) -> str:
    host, port, *_ = runner.addresses[0]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _why_none(versions: Versions, folder: Path) -> str:
    errors = [version.error for version in versions.known.values() if version.error]
    if errors:
        return errors[0]
    beside = f" beside the canary {versions.canary.number}" if versions.canary else ""
    return (
        f"No pushed version in {folder}{beside}. Run the pipeline first, or give --versions FOLDER."
    )


def _say(line: str) -> None:
    print(f"serve: {line}", file=sys.stderr, flush=True)
