"""Downloads: over https alone, up to a size, and kept only with the right checksum. Needs pooch."""

from pathlib import Path
from typing import Any

__all__ = ["fetch"]

_SECONDS = 30.0  # without a byte
_BYTES = 2**16  # of a piece


def fetch(url: str, sha256: str, name: str, folder: Path, most: int) -> Path:
    """Return a file in a folder of pooch's, downloaded if it is not there with this checksum.

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
        Bytes, after which a download is given up.

    Raises
    ------
    OSError, ValueError
        If it cannot be had, or is something else.
    """
    import pooch

    def download(url: str, output_file: str, pooch: Any) -> None:
        _stream(url, output_file, most)

    path = pooch.retrieve(
        url, known_hash=f"sha256:{sha256}", fname=name, path=folder, downloader=download
    )
    return Path(path)


def _stream(url: str, path: str, most: int) -> None:
    import requests

    def check(response: Any, *_: Any, **__: Any) -> None:
        """See every answer before a redirection is followed."""
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
