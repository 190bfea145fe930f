"""Downloads over https, limited in size and kept only if the checksum is right. Needs pooch."""

from pathlib import Path
from typing import Any

__all__ = ["fetch"]

_SECONDS = 30.0  # how long to wait for the next bytes
_BYTES = 2**16  # how many are received at a time


def fetch(url: str, sha256: str, name: str, folder: Path, most: int) -> Path:
    """Return a file in pooch's folder, downloaded if it is not there with this checksum.

    Parameters
    ----------
    url : str
        Begins with ``https://``.
    sha256 : str
        In hexadecimal.
    name : str
        Of the file.
    folder : Path
    most : int
        The largest size in bytes; a larger download is stopped.

    Raises
    ------
    OSError, ValueError
        If the download fails, is too large or has another checksum.
    """
    import pooch

    def download(url: str, output_file: str, pooch: Any) -> None:
        _stream(url, output_file, most)

    path = pooch.retrieve(
        url, known_hash=f"sha256:{sha256}", fname=name, path=folder, downloader=download
    )
    return Path(path)


def _stream(url: str, path: str, most: int) -> None:
    """Download to a file."""
    import requests

    def check(response: Any, *_: Any, **__: Any) -> None:
        """Refuse redirections to http; called for every response before one is followed."""
        for where in (response.url, response.headers.get("location", "")):
            if where.lower().startswith("http:"):
                raise requests.exceptions.InvalidURL(f"{where} is not https")

    hooks = {"response": check}
    with requests.get(url, stream=True, timeout=_SECONDS, hooks=hooks) as response:
        response.raise_for_status()
        received = 0
        with open(path, "wb") as file:
            for piece in response.iter_content(_BYTES):
                received += len(piece)
                if received > most:
                    raise ValueError(f"{url} has more than {most} bytes")
                file.write(piece)
