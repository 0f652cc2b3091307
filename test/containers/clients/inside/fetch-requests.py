"""fetch-requests.py METHOD URL [BODY]: requests as it comes."""

import sys

import requests

method, url, *body = sys.argv[1:]
answer = requests.request(method, url, data=body[0] if body else None, timeout=30)
sys.stdout.write(answer.text)
answer.raise_for_status()
