# Connects to each name through one address under VERIFY_X509_STRICT. Prints "NAME ok" or "NAME refused: why".
import socket
import ssl
import sys

host, port = sys.argv[1].rsplit(":", 1)
context = ssl.create_default_context(cafile=sys.argv[2])
context.verify_flags |= ssl.VERIFY_X509_STRICT
for name in sys.argv[3:]:
    try:
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            with context.wrap_socket(raw, server_hostname=name):
                print(name, "ok")
    except ssl.SSLError as error:
        print(name, "refused:", error)
