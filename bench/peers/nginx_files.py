"""The physical limit: nginx sends a file per customer that was written in advance.

Nothing is computed and nobody else is asked, so no service that looks at a request can be cheaper.
A stranger's page has to know that it asks for the popular list: nginx knows nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

POPULAR: Final = "popular"
_CONF: Final = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; multi_accept on; }}
http {{
  access_log off;
  server_tokens off;
  sendfile on;
  tcp_nopush on;
  etag off;
  keepalive_requests 1000000000;
  open_file_cache max=200000 inactive=1h;
  open_file_cache_valid 1h;
  default_type application/json;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; root {folder}/lists; }}
}}
"""


def write_lists(folder: Path, lists: Iterable[tuple[str, bytes]]) -> None:
    """A file for every name and ready list, below `folder / "lists"`."""
    below = folder / "lists"
    below.mkdir(parents=True)
    # Whoever starts nginx as root has its worker run as somebody else, who must get here.
    for place in (folder, below):
        place.chmod(0o755)
    for name, ready in lists:
        (below / name).write_bytes(ready)


def command(program: str, folder: Path, port: int) -> list[str]:
    """What starts nginx over `write_lists`' files, with its configuration written."""
    conf = folder / "nginx.conf"
    conf.write_text(_CONF.format(folder=folder, port=port))
    return [program, "-e", "stderr", "-p", str(folder), "-c", str(conf)]


def request(customer_id: str | None, *, host: str = "127.0.0.1") -> bytes:
    """The request for a customer's file, or for the popular one, as it goes over the wire."""
    name = customer_id or POPULAR
    return f"GET /{name} HTTP/1.1\r\nhost: {host}\r\naccept: */*\r\n\r\n".encode()
