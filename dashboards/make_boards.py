"""Writes executive.json, on_call.json and debug.json: davy's boards for Grafana.

Needs Python 3 and nothing else. Run it with no arguments; it writes beside itself:

    python3 dashboards/make_boards.py

The three have much in common (variables, links, annotations, matchers, the form of a panel), and
what they have in common stands here once. Change a board here, never in its JSON: a test runs this
and compares.
"""

import json
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent
# Classic dashboards; Grafana 10.4 and later read this as it is, and bring it up to date themselves.
SCHEMA_VERSION = 39
COLUMNS = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Every selector carries both, so that one board serves several davys.
TARGET = 'job=~"$job", instance=~"$instance"'
SERVICE = TARGET + ', service=~"$service"'
PLAN = TARGET + ', plan=~"$plan"'

GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "text"


def sel(name, more="", scope=TARGET):
    """A selector: the metric, the board's matchers, and more of them."""
    return f"{name}{{{scope}{', ' + more if more else ''}}}"


def rise(name, more="", scope=TARGET, by="", over="$__rate_interval"):
    """How much a counter grew."""
    return f"sum{f' by ({by})' if by else ''} (increase({sel(name, more, scope)}[{over}]))"


def rate(name, more="", scope=TARGET, by=""):
    return f"sum{f' by ({by})' if by else ''} (rate({sel(name, more, scope)}[$__rate_interval]))"


def ranged(name, more="", scope=TARGET, by=""):
    return rise(name, more, scope, by, "$__range")


def quantile(share, name, by="", scope=TARGET, more="", over="$__rate_interval", function="rate"):
    """A quantile of a histogram; nothing, and not NaN, while nothing was observed."""
    labels = f"le, {by}" if by else "le"
    buckets = f"sum by ({labels}) ({function}({sel(name + '_bucket', more, scope)}[{over}]))"
    return f"histogram_quantile({share}, {buckets}) >= 0"


def steps(*pairs):
    """Colours from a value on; the first has none."""
    return [{"color": colour, "value": value} for colour, value in pairs]


PLAIN = steps((GREEN, None))
ZERO_IS_GOOD = steps((GREEN, None), (RED, 1))


def target(expr, legend="", ref="A", instant=False, table=False):
    made = {
        "datasource": SOURCE,
        "editorMode": "code",
        "exemplar": False,
        "expr": expr,
        "instant": instant,
        "legendFormat": legend or "__auto",
        "range": not instant,
        "refId": ref,
    }
    if table:
        made["format"] = "table"
    return made


def panel(kind, title, about, targets, unit, width, height, none, **options):
    """What all panels have."""
    defaults = {
        "color": {"mode": options.get("color", "palette-classic")},
        "mappings": options.get("mappings", []),
        "noValue": none,
        "thresholds": {"mode": "absolute", "steps": options.get("steps", PLAIN)},
        "unit": unit,
    }
    for key in ("min", "max", "decimals"):
        if key in options:
            defaults[key] = options[key]
    return {
        "datasource": SOURCE,
        "description": about,
        "fieldConfig": {"defaults": defaults, "overrides": options.get("overrides", [])},
        "gridPos": {"h": height, "w": width},
        "options": {},
        "targets": [
            target(expr, legend, chr(ord("A") + number))
            for number, (expr, legend) in enumerate(targets)
        ],
        "title": title,
        "type": kind,
    }


def stat(title, about, expr, unit, none, width=4, **options):
    """One number, over the whole time that the board shows or as it is now."""
    options.setdefault("color", "thresholds")
    made = panel("stat", title, about, [(expr, title)], unit, width, 4, none, **options)
    made["options"] = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "value",
    }
    made["targets"][0].update({"instant": True, "range": False})
    return made


def lines(title, about, targets, unit, none="nothing in this time", width=8, **options):
    """Lines over time."""
    made = panel("timeseries", title, about, targets, unit, width, 8, none, **options)
    bars = options.get("bars", False)
    made["fieldConfig"]["defaults"]["custom"] = {
        "drawStyle": "bars" if bars else "line",
        "fillOpacity": 60 if bars else 10,
        "lineWidth": 1,
        "showPoints": "never" if bars else "auto",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if bars else "none"},
    }
    made["options"] = {
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return made


def table(title, about, columns, unit, none, width=12, by="service", units=None):
    """A row for each value of a label, a column for each query."""
    made = panel("table", title, about, [], unit, width, 8, none)
    for number, (expr, name) in enumerate(columns):
        made["targets"].append(
            target(expr, name, chr(ord("A") + number), instant=True, table=True)
        )
    names = {f"Value #{chr(ord('A') + n)}": name for n, (_, name) in enumerate(columns)}
    made["transformations"] = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {"excludeByName": {"Time": True}, "renameByName": names},
        },
    ]
    made["fieldConfig"]["overrides"] = [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "unit", "value": of}],
        }
        for name, of in (units or {}).items()
    ]
    made["options"] = {"cellHeight": "sm", "showHeader": True}
    return made


def row(title):
    return {"collapsed": False, "panels": [], "title": title, "type": "row"}


def words(kind):
    """Colours of the words that a label can have."""
    return [
        {
            "matcher": {"id": "byName", "options": word},
            "properties": [{"id": "color", "value": {"fixedColor": colour, "mode": "fixed"}}],
        }
        for word, colour in kind.items()
    ]


VERDICTS = words({"pass": GREEN, "fail": RED, "inconclusive": YELLOW})
OUTCOMES = words(
    {"promoted": GREEN, "rolled_back": ORANGE, "incident": RED, "false_alarm": YELLOW}
)


def mapped(texts):
    """Words in the place of numbers."""
    return [
        {
            "options": {
                str(number): {"color": colour, "index": index, "text": text}
                for index, (number, (text, colour)) in enumerate(texts.items())
            },
            "type": "value",
        }
    ]


def query_variable(name, query, label=None):
    return {
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "datasource": SOURCE,
        "definition": query,
        "hide": 0,
        "includeAll": True,
        "label": label or name,
        "multi": True,
        "name": name,
        "options": [],
        # 2: when the time changes, for a davy of last week may be gone.
        "refresh": 2,
        "query": {"qryType": 1, "query": query, "refId": f"variable-{name}"},
        "regex": "",
        "skipUrlSync": False,
        "sort": 1,
        "type": "query",
    }


def variables(more):
    source = {
        "current": {},
        "hide": 0,
        "includeAll": False,
        "label": "Data source",
        "multi": False,
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
        "type": "datasource",
    }
    address = "http://127.0.0.1:8088"
    davy = {
        "current": {"selected": False, "text": address, "value": address},
        "hide": 0,
        "label": "davy's address",
        "name": "davy",
        "options": [{"selected": True, "text": address, "value": address}],
        "query": address,
        "skipUrlSync": False,
        "type": "textbox",
    }
    job = query_variable("job", "label_values(davy_build_info, job)")
    instance = query_variable(
        "instance", 'label_values(davy_build_info{job=~"$job"}, instance)'
    )
    return [source, job, instance, *more, davy]


def annotation(name, expr, colour, title, text):
    return {
        "datasource": SOURCE,
        "enable": True,
        "expr": expr,
        "hide": False,
        "iconColor": colour,
        "name": name,
        "step": "60s",
        "tagKeys": "plan,service,verdict,decision",
        "textFormat": text,
        "titleFormat": title,
        "useValueForTime": False,
    }


def annotations():
    own = {
        "builtIn": 1,
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "type": "dashboard",
    }
    failed = rise("davy_verdicts_total", 'verdict="fail"', by="plan, verdict, reason")
    changed = rise("davy_verdict_changes_total", by="plan, verdict")
    decided = rise("davy_overrides_total", by="service, verdict, decision")
    return [
        own,
        annotation("Fails", f"{failed} > 0", RED, "{{plan}}: {{verdict}}", "{{reason}}"),
        annotation(
            "Verdict changes",
            f"{changed} > 0",
            YELLOW,
            "{{plan}}: {{verdict}}",
            "the verdict or its decision changed",
        ),
        annotation(
            "Overrides",
            f"{decided} > 0",
            BLUE,
            "{{service}}: {{decision}}",
            "somebody decided otherwise than the verdict {{verdict}}",
        ),
    ]


def links():
    def to(title, url, icon):
        return {
            "asDropdown": False,
            "icon": icon,
            "includeVars": False,
            "keepTime": False,
            "tags": [],
            "targetBlank": True,
            "title": title,
            "tooltip": "",
            "type": "link",
            "url": url,
        }

    boards = {
        "asDropdown": False,
        "icon": "external link",
        "includeVars": True,
        "keepTime": True,
        "tags": ["davy"],
        "targetBlank": False,
        "title": "davy's boards",
        "tooltip": "",
        "type": "dashboards",
        "url": "",
    }
    return [
        boards,
        to("Analyses", "${davy}/v1/analyses", "doc"),
        to("Dead letters", "${davy}/v1/dead-letters", "bolt"),
        to("API", "${davy}/v1/openapi.json", "info"),
    ]


def board(uid, title, about, span, refresh, more, contents):
    """Puts panels into rows of 24 columns, in their order."""
    x = y = tallest = 0
    panels = []
    for number, one in enumerate(contents, start=1):
        width, height = (COLUMNS, 1) if one["type"] == "row" else (
            one["gridPos"]["w"],
            one["gridPos"]["h"],
        )
        if x + width > COLUMNS or one["type"] == "row":
            x, y, tallest = 0, y + tallest, 0
        place = {"h": height, "w": width, "x": x, "y": y}
        panels.append({**one, "gridPos": place, "id": number})
        x, tallest = x + width, max(tallest, height)
    return {
        "annotations": {"list": annotations()},
        "description": about,
        "editable": False,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": links(),
        "panels": panels,
        "refresh": refresh,
        "schemaVersion": SCHEMA_VERSION,
        "tags": ["davy"],
        "templating": {"list": variables(more)},
        "time": {"from": span, "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": title,
        "uid": uid,
        "version": 1,
    }


# === executive ===


def told(outcomes, by=""):
    """Changes of which this was said, less those of which something else was said later."""
    more = f'outcome=~"{outcomes}"' if outcomes else ""
    said = ranged("davy_change_outcomes_total", more, SERVICE, by)
    replaced = ranged("davy_change_outcomes_replaced_total", more, SERVICE, by)
    return f"({said} - {replaced})"


def share(part, whole):
    """A share of what there is; nothing, and not 0, where there is none."""
    return f"clamp({part} / ({whole} > 0), 0, 1)"


def executive():
    judged = ranged("davy_changes_judged_total", "", SERVICE)
    failed = ranged("davy_changes_failed_total", "", SERVICE)
    decisions = ranged("davy_decisions_total", "", SERVICE)
    overrides = ranged("davy_overrides_total", "", SERVICE)
    rows = ranged("davy_audit_rows_total")
    missing = ranged("davy_audit_missing_total")
    sent = ranged("davy_webhook_rollbacks_total", 'outcome="delivered"')
    queued = ranged("davy_webhook_rollbacks_queued_total")
    latency = quantile(
        0.5, "davy_detection_latency_seconds", scope=SERVICE, over="$__range", function="increase"
    )
    few = steps((GREEN, None), (YELLOW, 0.05), (RED, 0.15))
    many = steps((RED, None), (YELLOW, 0.95), (GREEN, 0.99))
    bad = "rolled_back|incident"
    whole = "In the time that the board shows. "
    contents = [
        row("Changes"),
        stat(
            "Changes judged",
            whole + "Changes that at least one analysis came to a verdict of its own of, a change "
            "once. Analyses that were cancelled, superseded or abandoned are none.",
            judged, "short", "no change was judged", decimals=0, steps=steps((BLUE, None)),
            color="thresholds",
        ),
        stat(
            "Change failure rate",
            whole + "Of the changes whose outcome was told (POST /v1/changes/ID/outcome), those "
            "that were rolled back or did harm. Without outcomes there is no rate.",
            share(told(bad), told("")), "percentunit", "no outcome was told", steps=few,
        ),
        stat(
            "Stopped by davy",
            whole + "Of the changes judged, those that an analysis failed.",
            share(failed, judged), "percentunit", "no change was judged", steps=PLAIN,
        ),
        stat(
            "Time to detect",
            whole + "Half of the fails came within this time from the start of their analysis. "
            "The share of the time in which the canary was bad is on the right below.",
            latency, "s", "no fail", steps=PLAIN,
        ),
        stat(
            "Rollbacks delivered",
            whole + "Of the notifications that ask for a rollback, those that their endpoint took. "
            "One that is under way counts as not delivered yet.",
            share(sent, queued), "percentunit", "no rollback was asked for", steps=many,
        ),
        stat(
            "Decided by davy",
            whole + "Of the final verdicts, those that nobody overrode.",
            f"1 - {share(overrides, decisions)}", "percentunit", "no verdict", steps=many,
        ),
        stat(
            "Audit is complete",
            whole + "Of the changes of state, those with a row in the audit log. Anything below "
            "100 % is a fault of davy's.",
            share(rows, f"({rows} + {missing})"), "percentunit", "nothing happened",
            steps=steps((RED, None), (GREEN, 1)),
        ),
        stat(
            "False alarms told",
            whole + "Of the changes whose outcome was told, those that were stopped and nothing was "
            "wrong with them. davy promises at most alpha of those it judges.",
            share(told("false_alarm"), told("")), "percentunit", "no outcome was told", steps=few,
        ),
        stat(
            "Incidents told",
            whole + "Changes that did harm, as was told.",
            told("incident"), "short", "no outcome was told", decimals=0, steps=ZERO_IS_GOOD,
        ),
        stat(
            "Overrides",
            whole + "How often a person decided otherwise than the verdict asks.",
            overrides, "short", "none", decimals=0, steps=PLAIN,
        ),
        stat(
            "Time to a pass",
            whole + "Half of the passes took at most this long from the start of their analysis.",
            quantile(
                0.5, "davy_time_to_verdict_seconds", more='verdict="pass"', over="$__range",
                function="increase",
            ),
            "s", "no pass", steps=PLAIN,
        ),
        stat(
            "Alpha spent",
            whole + "The mean share of alpha that an analysis had spent by its final verdict. What "
            "is left was not needed.",
            f"{ranged('davy_alpha_spent_ratio_sum')} / "
            f"({ranged('davy_alpha_spent_ratio_count')} > 0)",
            "percentunit", "no verdict", steps=PLAIN,
        ),
        row("Over time"),
        lines(
            "Verdicts",
            "Final verdicts. Inconclusive ones say too little was shown, never that all is well.",
            [(rise("davy_verdicts_total", by="verdict"), "{{verdict}}")],
            "short", bars=True, overrides=VERDICTS,
        ),
        lines(
            "What became of changes",
            "As people said, when they said it. What was said anew takes the place of the first.",
            [(
                rise("davy_change_outcomes_total", "", SERVICE, "outcome") + " - "
                + rise("davy_change_outcomes_replaced_total", "", SERVICE, "outcome"),
                "{{outcome}}",
            )],
            "short", bars=True, overrides=OUTCOMES,
        ),
        lines(
            "Decisions",
            "What final verdicts asked for, and whether davy or a person had decided it by then.",
            [(
                rise("davy_decisions_total", "", SERVICE, "decision, by"), "{{decision}} by {{by}}",
            )],
            "short", bars=True,
        ),
        lines(
            "Detection of bad canaries",
            "From the start of the analysis, or of the step that failed, to the fail; and how far "
            "the evidence reaches back: about as long the canary was bad. Nine of ten.",
            [
                (quantile(0.9, f"davy_detection_{name}_seconds", scope=SERVICE), legend)
                for name, legend in (
                    ("latency", "since the start"),
                    ("since_step", "since the step"),
                    ("evidence", "evidence"),
                )
            ],
            "s", "no fail in this time",
        ),
        lines(
            "Overrides by verdict",
            "Which verdicts people decided otherwise than, and how.",
            [(
                rise("davy_overrides_total", "", SERVICE, "verdict, decision"),
                "{{verdict}}, {{decision}} all the same",
            )],
            "short", bars=True,
        ),
        lines(
            "Rollback notifications",
            "Those that ask for a rollback: as they came, and what became of them.",
            [
                (rise("davy_webhook_rollbacks_queued_total"), "asked for"),
                (rise("davy_webhook_rollbacks_total", by="outcome"), "{{outcome}}"),
            ],
            "short",
        ),
        row("By service"),
        table(
            "Changes by service",
            whole + "Services that telemetry.service_labels of davy's configuration lists; all "
            "others together are `other`.",
            [
                (ranged("davy_changes_judged_total", "", SERVICE, "service"), "judged"),
                (ranged("davy_changes_failed_total", "", SERVICE, "service"), "failed by davy"),
                (told("promoted", "service"), "promoted"),
                (told("rolled_back", "service"), "rolled back"),
                (told("incident", "service"), "incidents"),
                (told("false_alarm", "service"), "false alarms"),
            ],
            "none", "no change", width=24,
        ),
    ]
    more = [
        query_variable(
            "service", f"label_values(davy_changes_judged_total{{{TARGET}}}, service)"
        )
    ]
    about = (
        "What canary analysis does for change management: changes judged, failures, how fast bad "
        "canaries are found, whether rollbacks arrive, who decides, whether all of it is on record."
    )
    return board("davy-executive", "davy / Executive", about, "now-30d", "5m", more, contents)


# === on-call ===


def on_call():
    stuck = f"max({sel('davy_store_stuck')} + {sel('davy_sample_log_stuck')})"
    no_data = "no_traffic|no_telemetry|baseline_missing|canary_missing|stale|bad_data"
    reloads = " + ".join(
        f"({ranged(name)} or vector(0))"
        for name in (
            "davy_plan_reload_failures_total",
            "davy_auth_reload_failures_total",
            "davy_tls_reload_failures_total",
            "davy_webhook_secret_reload_failures_total",
        )
    )
    whole = "In the time that the board shows. "
    contents = [
        row("Is davy well"),
        stat(
            "davys", "Instances that answer a scrape.",
            f"count({sel('davy_build_info')}) or vector(0)", "none", "0",
            steps=steps((RED, None), (GREEN, 1)),
        ),
        stat(
            "Takes samples",
            "no: the disk does not take what it is given, so davy answers 503. See operations.md, "
            "When the disk fails.",
            stuck, "none", "unknown",
            mappings=mapped({0: ("yes", GREEN), 1: ("no", RED), 2: ("no", RED)}),
            steps=ZERO_IS_GOOD,
        ),
        stat(
            "Endpoints held back",
            "Webhook endpoints that failed so often that davy only probes them. See operations.md, "
            "When a webhook fails.",
            f"sum({sel('davy_webhook_breaker_open')}) or vector(0)", "none", "0",
            steps=ZERO_IS_GOOD,
        ),
        stat(
            "Source of pulled metrics",
            "down: it does not answer, and davy leaves it alone for a while. Ticks that nobody "
            "answered for stay empty.",
            f"min({sel('davy_pull_source_up')})", "none", "none is configured",
            mappings=mapped({0: ("down", RED), 1: ("up", GREEN)}),
            steps=steps((RED, None), (GREEN, 1)),
        ),
        stat(
            "Files that could not be used",
            whole + "Plans, tokens, certificates and secrets that had changed and could not be "
            "used; those before stay. davy check tells why.",
            reloads, "short", "0", decimals=0, steps=ZERO_IS_GOOD,
        ),
        stat(
            "Requests answered 5xx",
            "Of all requests, over the time of a few scrapes.",
            f"({rate('davy_http_requests_total', more_5xx())} or vector(0)) / "
            f"({rate('davy_http_requests_total')} > 0)",
            "percentunit", "no request", steps=steps((GREEN, None), (YELLOW, 0.01), (RED, 0.05)),
        ),
        row("What runs, what failed"),
        stat(
            "Running analyses", "Analyses that are not final.",
            f"sum({sel('davy_analyses_running')})", "none", "0", steps=steps((BLUE, None)),
        ),
        stat(
            "Room for analyses",
            "Share of limits.analyses_max that runs. Past it starts are refused.",
            f"max({sel('davy_analyses_running')} / on (job, instance) "
            f"{sel('davy_limit', 'limit=' + quoted('analyses'))})",
            "percentunit", "0 %", steps=steps((GREEN, None), (YELLOW, 0.7), (RED, 0.9)),
        ),
        stat(
            "Fails", whole + "Final verdicts that ask for a rollback.",
            ranged("davy_verdicts_total", 'verdict="fail"', PLAN), "short", "0", decimals=0,
            steps=steps((GREEN, None), (ORANGE, 1)),
        ),
        stat(
            "Without data",
            whole + "Final verdicts that are inconclusive since data were missing or bad.",
            ranged("davy_verdicts_total", f'reason=~"{no_data}"', PLAN), "short", "0", decimals=0,
            steps=steps((GREEN, None), (ORANGE, 1)),
        ),
        stat(
            "Alarms after a pass",
            whole + "Checks that went beyond their bounds while a pass was watched.",
            ranged("davy_watch_alarms_total", "", PLAN), "short", "0", decimals=0,
            steps=steps((GREEN, None), (ORANGE, 1)),
        ),
        stat(
            "Dead letters",
            whole + "Notifications that were given up. davy webhooks list says why.",
            f"{ranged('davy_webhook_attempts_total', 'outcome=' + quoted('dead'))} or vector(0)",
            "short", "0", decimals=0, steps=ZERO_IS_GOOD,
        ),
        lines(
            "Verdicts", "Final verdicts.",
            [(rise("davy_verdicts_total", "", PLAN, "verdict"), "{{verdict}}")],
            "short", bars=True, overrides=VERDICTS,
        ),
        lines(
            "Why inconclusive",
            "Reasons of final verdicts that are inconclusive: no data, too little of it, too little "
            "time, or an end from outside.",
            [(
                rise("davy_verdicts_total", 'verdict="inconclusive"', PLAN, "reason"), "{{reason}}",
            )],
            "short", bars=True,
        ),
        lines(
            "Time to verdict", "From the start of an analysis to its final verdict, half of them.",
            [(
                quantile(0.5, "davy_time_to_verdict_seconds", "verdict", PLAN), "{{verdict}}",
            )],
            "s", "no verdict in this time", overrides=VERDICTS,
        ),
        lines(
            "Analyses", "Started, and running.",
            [
                (rise("davy_analyses_started_total", "", PLAN), "started"),
                (f"sum({sel('davy_analyses_running')})", "running"),
            ],
            "short",
        ),
        lines(
            "Samples by outcome",
            "Accepted falls to nothing while analyses run: nothing is sent, or no selector fits. "
            "Late: the plan's lateness is too short.",
            [(rate("davy_samples_total", by="outcome"), "{{outcome}}")], "cps",
        ),
        lines(
            "Limits that turned something away",
            "api.md has each limit. None is good.",
            [(
                rise("davy_limit_reached_total", by="limit") + " > 0 or vector(0)", "{{limit}}",
            )],
            "short", bars=True,
        ),
        row("Webhooks"),
        lines(
            "Attempts", "By endpoint, and what came of them.",
            [(
                rise("davy_webhook_attempts_total", by="endpoint, outcome")
                + " or label_replace(vector(0), \"endpoint\", \"none\", \"\", \"\")",
                "{{endpoint}}: {{outcome}}",
            )],
            "short", "no notification",
        ),
        lines(
            "Waiting", "Notifications that wait to be sent, and the room of one endpoint.",
            [
                (f"sum({sel('davy_outbox_depth')})", "waiting"),
                (f"min({sel('davy_limit', 'limit=' + quoted('webhook_queue'))})", "room"),
            ],
            "short",
        ),
        lines(
            "Time to deliver",
            "From the event to the answer that took its notification, nine of ten.",
            [(
                quantile(0.9, "davy_webhook_delivery_delay_seconds", "endpoint"), "{{endpoint}}",
            )],
            "s", "nothing was delivered in this time",
        ),
        row("Sources and disk"),
        lines(
            "Queries to the source", "By what came of them.",
            [(
                rate("davy_pull_queries_total", by="outcome") + " or vector(0)", "{{outcome}}",
            )],
            "reqps", "no source is configured",
        ),
        lines(
            "Time of a query", "Nine of ten, from the request to the end of the answer.",
            [(quantile(0.9, "davy_pull_query_duration_seconds"), "nine of ten")],
            "s", "nothing was asked in this time",
        ),
        lines(
            "Disk",
            "A transaction of the store and a sync of the sample log, nine of ten. Verdicts and "
            "acknowledgements wait for them.",
            [
                (quantile(0.9, "davy_commit_duration_seconds"), "commit"),
                (quantile(0.9, "davy_sample_log_sync_duration_seconds"), "sync"),
            ],
            "s",
        ),
        lines(
            "The disk fails",
            "1 while the disk does not take what it is given; and checkpoints that could not be "
            "written.",
            [
                (f"max({sel('davy_store_stuck')})", "store"),
                (f"max({sel('davy_sample_log_stuck')})", "sample log"),
                (rise("davy_checkpoint_failures_total"), "checkpoints"),
            ],
            "short", color="palette-classic",
        ),
        lines(
            "Sample log", "What comes to the disk, and the size of the last checkpoint.",
            [
                (rate("davy_sample_log_synced_bytes_total"), "synced a second"),
                (f"max({sel('davy_checkpoint_bytes')})", "checkpoint"),
            ],
            "bytes",
        ),
        lines(
            "Time since the start", "A fall is a restart: counters begin anew.",
            [(
                f"time() - {sel('process_start_time_seconds')}", "{{instance}}",
            )],
            "s",
        ),
    ]
    more = [
        query_variable("plan", f"label_values(davy_analyses_started_total{{{TARGET}}}, plan)")
    ]
    about = (
        "Is davy well, what runs, what failed, do notifications arrive, does the source answer, does "
        "the disk take what it is given."
    )
    return board("davy-on-call", "davy / On-call", about, "now-6h", "30s", more, contents)


def quoted(text):
    return f'"{text}"'


def more_5xx():
    return 'status=~"5.."'


# === debug ===


def debug():
    contents = [
        row("Ingest"),
        lines(
            "Requests by format", "Requests whose samples could be read.",
            [(rate("davy_ingest_requests_total", by="format"), "{{format}}")], "reqps",
        ),
        lines(
            "Samples by format", "Samples of those requests, and pulled ones.",
            [(rate("davy_ingest_samples_total", by="format"), "{{format}}")], "cps",
        ),
        lines(
            "Samples by outcome", "What became of them.",
            [(rate("davy_samples_total", by="outcome"), "{{outcome}}")], "cps",
        ),
        lines(
            "Bytes", "Bodies of samples as they came, and decompressed.",
            [
                (rate("davy_ingest_wire_bytes_total"), "on the wire"),
                (rate("davy_ingest_decoded_bytes_total"), "decompressed"),
            ],
            "Bps",
        ),
        lines(
            "Samples of the future",
            "Kept samples from more than a second ahead: put a sender's clock right.",
            [(rate("davy_samples_ahead_total"), "ahead")], "cps",
        ),
        lines(
            "Pulled points", "Points in answers of the source, and queries under way.",
            [
                (rate("davy_pull_points_total"), "points a second"),
                (f"sum({sel('davy_pull_queries_in_flight')})", "queries under way"),
            ],
            "short",
        ),
        row("Engine"),
        lines(
            "Queue", "Inputs that wait for the engine, and the room for them.",
            [
                (f"max({sel('davy_engine_queue_depth')})", "waiting"),
                (f"min({sel('davy_limit', 'limit=' + quoted('engine_queue'))})", "room"),
            ],
            "short",
        ),
        lines(
            "Time of an input", "By kind, 99 of a hundred. Ticks and samples close ticks.",
            [(
                quantile(0.99, "davy_engine_input_duration_seconds", "input"), "{{input}}",
            )],
            "s",
        ),
        lines(
            "The engine's thread", "Share of a core that the engine needs; near 1 it falls behind.",
            [(rate("davy_engine_input_duration_seconds_sum"), "busy")], "percentunit", min=0,
        ),
        lines(
            "Looks", "Ticks closed and evaluated.",
            [(rate("davy_looks_total"), "looks")], "ops",
        ),
        lines(
            "Looks late", "How much later than due: half of them, and 99 of a hundred.",
            [
                (quantile(0.5, "davy_looks_late_seconds"), "half"),
                (quantile(0.99, "davy_looks_late_seconds"), "99 of a hundred"),
            ],
            "s", "no look in this time",
        ),
        lines(
            "Verdicts that changed", "Before they were final, too.",
            [(rise("davy_verdict_changes_total", by="verdict"), "{{verdict}}")],
            "short", bars=True, overrides=VERDICTS,
        ),
        row("HTTP"),
        lines(
            "Requests by status", "All routes.",
            [(rate("davy_http_requests_total", by="status"), "{{status}}")], "reqps",
        ),
        lines(
            "Requests by route", "All statuses.",
            [(rate("davy_http_requests_total", by="route"), "{{route}}")], "reqps",
        ),
        lines(
            "Time to answer",
            "From the request's head to the answer's head, 95 of a hundred. Long polls wait on "
            "purpose.",
            [(quantile(0.95, "davy_http_request_duration_seconds", "route"), "{{route}}")], "s",
        ),
        lines(
            "Event streams", "Open ones, and the room for them.",
            [
                (f"sum({sel('davy_sse_clients')})", "open"),
                (f"sum({sel('davy_limit', 'limit=' + quoted('sse_clients'))})", "room"),
            ],
            "short",
        ),
        lines(
            "Turned away", "Requests that were not let in, and connections without a handshake.",
            [
                (
                    rise("davy_auth_refused_total", by="reason")
                    + " or label_replace(vector(0), \"reason\", \"none\", \"\", \"\")",
                    "{{reason}}",
                ),
                (
                    rise("davy_tls_handshakes_failed_total", by="reason")
                    + " or label_replace(vector(0), \"reason\", \"none\", \"\", \"\")",
                    "TLS: {{reason}}",
                ),
            ],
            "short",
        ),
        lines(
            "Limits", "How often a limit turned something away.",
            [(rise("davy_limit_reached_total", by="limit"), "{{limit}}")], "short", bars=True,
        ),
        row("Store"),
        lines(
            "Commit", "A transaction of the store: half of them, and 99 of a hundred.",
            [
                (quantile(0.5, "davy_commit_duration_seconds"), "half"),
                (quantile(0.99, "davy_commit_duration_seconds"), "99 of a hundred"),
            ],
            "s",
        ),
        lines(
            "Sync of the sample log", "A 2xx for samples waits for two of them at the most.",
            [
                (quantile(0.5, "davy_sample_log_sync_duration_seconds"), "half"),
                (quantile(0.99, "davy_sample_log_sync_duration_seconds"), "99 of a hundred"),
            ],
            "s", "nothing was synced: samples are kept in memory only, or none came",
        ),
        lines(
            "Checkpoints", "How many, and those that could not be written.",
            [
                (rise("davy_checkpoint_duration_seconds_count"), "written"),
                (rise("davy_checkpoint_failures_total"), "failed"),
            ],
            "short",
        ),
        lines(
            "Audit rows", "By what happened.",
            [(rise("davy_audit_rows_total", by="kind"), "{{kind}}")], "short", bars=True,
        ),
        lines(
            "Without an audit row", "Changes of state that have none: a fault of davy's.",
            [(rise("davy_audit_missing_total"), "missing")], "short",
        ),
        lines(
            "Outbox", "Notifications put back by hand, and endpoints newly held back.",
            [
                (
                    rise("davy_webhook_redelivered_total", by="endpoint")
                    + " or label_replace(vector(0), \"endpoint\", \"none\", \"\", \"\")",
                    "{{endpoint}}: sent again",
                ),
                (
                    rise("davy_webhook_breaker_opened_total", by="endpoint")
                    + " or label_replace(vector(0), \"endpoint\", \"none\", \"\", \"\")",
                    "{{endpoint}}: held back",
                ),
            ],
            "short",
        ),
        row("Process and configuration"),
        lines(
            "Processor", "Cores in use.",
            [(
                f"rate({sel('process_cpu_seconds_total')}[$__rate_interval])", "{{instance}}",
            )],
            "short",
        ),
        lines(
            "Memory", "What the process holds.",
            [(sel("process_resident_memory_bytes"), "{{instance}}")], "bytes",
        ),
        lines(
            "Open files", "And the most that the system allows.",
            [
                (sel("process_open_fds"), "{{instance}}"),
                (f"min({sel('process_max_fds')})", "allowed"),
            ],
            "short",
        ),
        lines(
            "Configuration",
            "Plans by name, tokens, secrets that deliveries are signed with, keys of the identity "
            "provider.",
            [
                (f"max({sel('davy_plans')})", "plans"),
                (f"max({sel('davy_auth_tokens')})", "tokens"),
                (f"max({sel('davy_webhook_secrets')}) or vector(0)", "secrets"),
                (f"max({sel('davy_oidc_keys')})", "keys"),
            ],
            "short",
        ),
        lines(
            "Keys of the identity provider", "Fetches, by what came of them.",
            [(
                rise("davy_oidc_key_fetches_total", by="outcome")
                + " or label_replace(vector(0), \"outcome\", \"none\", \"\", \"\")",
                "{{outcome}}",
            )],
            "short",
        ),
        lines(
            "Versions", "Which version runs.",
            [(f"count by (version) ({sel('davy_build_info')})", "{{version}}")], "short",
        ),
    ]
    about = "What davy does inside: ingest by format, the engine's queue and looks, HTTP, the store."
    return board("davy-debug", "davy / Debug", about, "now-1h", "10s", [], contents)


def main():
    for name, made in (("executive", executive()), ("on_call", on_call()), ("debug", debug())):
        text = json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
