"""The peer: what people write, a loop of `requests.Session.post` in some threads; nothing is durable, nothing is moved.

`python requests_loop.py FOLDER ADDRESS THREADS`
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from urllib.parse import quote

import requests


def main() -> None:
    folder, address, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    own = local()

    def send(path: Path) -> None:
        if not hasattr(own, "session"):
            own.session = requests.Session()
        tags = f"task_name={quote(path.name)}&file_name={quote(path.name)}"
        headers = {"Authorization": "Bearer of-the-sink", "Content-Type": "application/pdf", "X-Aluma-Tags": tags}
        with path.open("rb") as file:
            response = own.session.post(address, data=file, headers=headers)
        response.raise_for_status()
        assert response.json()["id"]

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(send, sorted(folder.iterdir())))


if __name__ == "__main__":
    main()
