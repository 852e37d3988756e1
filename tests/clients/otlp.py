"""Two services that OpenTelemetry's SDK measures and exports to davy over HTTP.

    otlp.py DAVY_URL delta|cumulative RUN

Their versions are RUN-v1 and RUN-v2; the second fails and dawdles more. Counters, a gauge, an
explicit and an exponential histogram, and a counter that goes up and down, whose changes (delta) no
receiver can use. Prints what every answer was, one a line, until it is ended.
"""

import sys
import time

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, UpDownCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource

url, temporality, run = sys.argv[1:]
ONE_BY_ONE = AggregationTemporality.DELTA
wanted = ONE_BY_ONE if temporality == "delta" else AggregationTemporality.CUMULATIVE


def told(response, *_args, **_kwargs):
    """What davy answered, as the client's own message reads it."""
    answer = ExportMetricsServiceResponse.FromString(response.content)
    partial = answer.partial_success
    encoding = response.request.headers.get("Content-Encoding")
    line = f"{response.status_code} {encoding} {partial.rejected_data_points} {partial.error_message}"
    # In one piece: each service exports on a thread of its own.
    print(line + "\n", end="", flush=True)


class Exporter(OTLPMetricExporter):
    def export(self, *args, **kwargs):
        result = super().export(*args, **kwargs)
        if result is not MetricExportResult.SUCCESS:
            print("failed", result, flush=True)
        return result


def service(version):
    session = requests.Session()
    session.hooks["response"].append(told)
    exporter = Exporter(
        endpoint=url + "/v1/metrics",
        compression=Compression.Gzip,
        session=session,
        preferred_temporality={Counter: wanted, Histogram: wanted, UpDownCounter: ONE_BY_ONE},
    )
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=300)
    views = [
        View(
            instrument_name="http.server.request.duration",
            aggregation=ExplicitBucketHistogramAggregation(boundaries=[0.1, 0.25, 0.5, 1.0]),
        ),
        View(instrument_name="rpc.latency", aggregation=ExponentialBucketHistogramAggregation()),
    ]
    resource = Resource.create({"service.name": "shop", "service.version": f"{run}-{version}"})
    provider = MeterProvider(metric_readers=[reader], resource=resource, views=views)
    meter = provider.get_meter("shop", "1.0")
    return {
        "requests": meter.create_counter("http.server.requests", unit="{request}"),
        "duration": meter.create_histogram("http.server.request.duration", unit="s"),
        "latency": meter.create_histogram("rpc.latency", unit="s"),
        "depth": meter.create_gauge("queue.depth"),
        "open": meter.create_up_down_counter("connections.open"),
    }


def serve(service, bad, slow, turn):
    for index in range(100):
        # Bad ones lie between good ones: an export may fall into this loop.
        number = index * 37 % 100
        code = "500" if number < bad else "200"
        service["requests"].add(1, {"http.response.status_code": code})
        seconds = 0.3 + number / 100 if number < slow else 0.02 + number / 1000
        service["duration"].record(seconds)
        service["latency"].record(seconds)
    service["depth"].set(5 + turn % 3)
    service["open"].add(1 if turn % 2 else -1)


first, second = service("v1"), service("v2")
turn = 0
while True:
    serve(first, 2, 4, turn)
    serve(second, 30, 40, turn)
    turn += 1
    time.sleep(0.1)
