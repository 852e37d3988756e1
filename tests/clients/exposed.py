"""Two services with prometheus_client's metrics, which it exposes.

    exposed.py RUN

Prints the port it listens on. Their versions are RUN-v1 and RUN-v2; the second fails and dawdles
more. Every second request for the page finds another thousand requests served, so that both forms
of one page can be asked for. Serves until it is ended.
"""

import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary
from prometheus_client.exposition import make_wsgi_app

run = sys.argv[1]
registry = CollectorRegistry()
labels = ["version"]
requests = Counter("http_requests", "Requests by code.", labels + ["code"], registry=registry)
duration = Histogram(
    "http_request_duration_seconds",
    'How long "they" took.',
    labels,
    buckets=[0.1, 0.25, 1],
    registry=registry,
)
depth = Gauge("queue_depth", "What waits \\ stands in line.", labels, registry=registry)
Info("build", "What runs.", registry=registry).info({"compiler": "a\"b\\c\nd"})
Enum("state", "How it is.", states=["good", "bad"], registry=registry).state("good")
Summary("payload_bytes", "Sizes.", registry=registry).observe(7)
asked = 0
page = make_wsgi_app(registry)


def serve(version, bad, slow):
    requests.labels(f"{run}-{version}", "200").inc(1000 - bad)
    requests.labels(f"{run}-{version}", "503").inc(bad)
    for number in range(1000):
        seconds = 0.5 if number < slow else 0.2
        duration.labels(f"{run}-{version}").observe(seconds)
    depth.labels(f"{run}-{version}").set(4)


def app(environ, start_response):
    global asked
    if asked % 2 == 0:
        serve("v1", 20, 40)
        serve("v2", 300, 400)
    asked += 1
    return page(environ, start_response)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_args):
        pass


server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
print(server.server_port, flush=True)
server.serve_forever()
