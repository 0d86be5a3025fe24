"""TF-Hub's handles through `tensorflow_hub`: its protocol, its cache and its environment variables.

`hub.resolve` alone would stream an archive into its cache: it waits for ever where a server stalls,
starts anew where a connection breaks, accepts an archive that was cut between two files, and bounds
no size. So the caller downloads and unpacks the archive, to where `hub.resolve` then looks for it.
``TFHUB_DISABLE_CERT_VALIDATION`` has no effect on such a download.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from inception_finetune.components.errors import UserError
from inception_finetune.components.io.address import public_address
from inception_finetune.components.io.download import is_remote

COMPRESSED: Final = "tf-hub-format=compressed"  # of an address that answers with the archive
FILE_SUFFIX: Final = re.compile(r"\.[A-Za-z]\w*")  # a handle ends in a number or a plain name
CACHE: Final = "TFHUB_CACHE_DIR"
LOAD_FORMAT: Final = "TFHUB_MODEL_LOAD_FORMAT"
ABANDONED: Final = 60  # seconds, after which another process' lock on the cache is broken


def is_hub_handle(handle: str) -> bool:
    """Returns whether `handle` is an http(s) URL, and not that of a file."""
    if not is_remote(handle):
        return False
    parts = urlsplit(handle)
    suffix = PurePosixPath(parts.path).suffix
    return COMPRESSED not in parts.query and not FILE_SUFFIX.fullmatch(suffix)


def fetch_module(
    handle: str,
    cache_dir: Path,
    download: Callable[[str], Path],
    unpack: Callable[[Path, Path], None],
) -> Path:
    """Returns the directory where `hub.resolve` has the module, after fetching it if need be.

    Args:
        handle: of a module, such as ``https://tfhub.dev/google/imagenet/inception_v3/…/5``.
        cache_dir: TF-Hub's cache, unless ``TFHUB_CACHE_DIR`` is set.
        download: fetches the archive from an address; the returned file is removed at the end.
        unpack: called with the archive and an empty directory.

    Raises:
        UserError: from `download` or `unpack`, or the cache cannot be used.
    """
    import tensorflow as tf
    import tensorflow_hub as hub
    from tensorflow_hub import compressed_module_resolver, resolver

    protocol = compressed_module_resolver.HttpCompressedFileResolver()
    if not protocol.is_supported(handle):
        raise UserError(
            f"{LOAD_FORMAT} is {resolver.model_load_format()}, which makes no copy of a module "
            "on this machine. Unset it."
        )
    with _default_cache(cache_dir) as cache:
        if "://" in cache:
            raise UserError(
                f"{CACHE} is {cache}, and a module is kept on this machine. Name a folder."
            )
        try:
            place = Path(compressed_module_resolver._module_dir(handle))
            if not place.is_dir() or not any(place.iterdir()):
                archive = download(protocol._append_compressed_format_query(handle))
                try:
                    # Locked only now: a killed download leaves no lock for the next one.
                    resolver.atomic_download(
                        public_address(handle),  # it is written beside the copy
                        lambda _, directory: unpack(archive, Path(directory)),
                        str(place),
                        ABANDONED,
                    )
                finally:
                    archive.unlink()
            return Path(hub.resolve(handle))
        except (OSError, tf.errors.OpError) as error:
            reason = getattr(error, "message", None) or error
            raise UserError(
                f"TF-Hub's cache {cache} cannot be used: {reason}. Repair it, or set {CACHE} to "
                "another folder."
            ) from error


@contextmanager
def _default_cache(directory: Path) -> Iterator[str]:
    """Makes TF-Hub keep modules in `directory`, unless its variable or flag is set."""
    from tensorflow_hub import resolver

    flag = resolver.FLAGS["tfhub_cache_dir"]
    before = flag.value
    flag.value = before or str(directory)
    try:
        yield resolver.tfhub_cache_dir()
    finally:
        flag.value = before
