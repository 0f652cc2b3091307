"""fetch-httpx.py METHOD URL [BODY]: httpx as it comes."""

import sys

import httpx

method, url, *body = sys.argv[1:]
answer = httpx.request(method, url, content=body[0] if body else None, timeout=30)
sys.stdout.write(answer.text)
answer.raise_for_status()
