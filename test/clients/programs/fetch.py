"""fetch.py METHOD URL [BODY]: urllib as it comes, under the strictest verification that Python has."""

import ssl
import sys
import urllib.request

method, url, *body = sys.argv[1:]
context = ssl.create_default_context()
context.verify_flags |= ssl.VERIFY_X509_STRICT
request = urllib.request.Request(url, data=body[0].encode() if body else None, method=method)
with urllib.request.urlopen(request, context=context, timeout=30) as answer:
    sys.stdout.write(answer.read().decode())
