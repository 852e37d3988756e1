//! Selectors against Prometheus' rules, and variables that cannot break out.

use proptest::prelude::*;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn selects(selector: &str, name: &str, pairs: &[(&str, &str)]) -> bool {
    let parsed = Selector::parse(selector).unwrap_or_else(|e| panic!("{selector}: {e}"));
    parsed.matches(name, &labels(pairs))
}

type Case = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    bool,
);

/// Selector, series name, labels, and whether it is selected.
const CASES: &[Case] = &[
    ("up", "up", &[("job", "api")], true),
    ("up", "up2", &[], false),
    ("up{}", "up", &[], true),
    ("up{job=\"api\"}", "up", &[("job", "api")], true),
    ("up{job=\"api\",}", "up", &[("job", "api")], true),
    ("up{job=\"api\"}", "up", &[], false),
    // A missing label is the empty string.
    ("up{job=\"\"}", "up", &[], true),
    ("up{job!=\"api\"}", "up", &[], true),
    ("up{job!=\"\"}", "up", &[], false),
    ("up{job=~\"api|\"}", "up", &[], true),
    ("up{job!~\".+\"}", "up", &[], true),
    ("up{job!~\".+\"}", "up", &[("job", "x")], false),
    // Regexes are anchored at both ends, alternatives included.
    ("up{code=~\"5..\"}", "up", &[("code", "503")], true),
    ("up{code=~\"5..\"}", "up", &[("code", "1503")], false),
    ("up{code=~\"5..\"}", "up", &[("code", "5033")], false),
    ("up{code=~\"4|5\"}", "up", &[("code", "45")], false),
    ("up{code=~\"a.c\"}", "up", &[("code", "a\nc")], true),
    // The name is a label too.
    ("{__name__=~\"http_.*\"}", "http_requests", &[], true),
    ("{__name__=~\"http_.*\"}", "requests_http_x", &[], false),
    (
        "{\"http.server.duration\", le=\"1\"}",
        "http.server.duration",
        &[("le", "1")],
        true,
    ),
    ("up{\"k8s.pod\"=\"a\"}", "up", &[("k8s.pod", "a")], true),
    // Quotes and escapes.
    ("up{path='/a\"b'}", "up", &[("path", "/a\"b")], true),
    ("up{path=`a\\b`}", "up", &[("path", "a\\b")], true),
    (
        "up{path=~\"\\\\d+\\\\.x\"}",
        "up",
        &[("path", "12.x")],
        true,
    ),
    (
        "up{path=\"\\x41\\u00e9\\101\"}",
        "up",
        &[("path", "AéA")],
        true,
    ),
    // Bare matchers, as arms are written.
    (
        "job=\"api\", code!~\"5..\"",
        "anything",
        &[("job", "api"), ("code", "200")],
        true,
    ),
    (
        "job=\"api\", code!~\"5..\"",
        "anything",
        &[("job", "api"), ("code", "500")],
        false,
    ),
    ("a=\"1\", a!=\"2\"", "x", &[("a", "1")], true),
];

#[test]
fn matchers_follow_prometheus() {
    for (selector, name, pairs, expected) in CASES {
        assert_eq!(
            selects(selector, name, pairs),
            *expected,
            "{selector} on {name} {pairs:?}"
        );
    }
}

#[test]
fn mistakes_are_located_and_helped() {
    let cases = [
        ("", 0, "the selector holds no matcher"),
        ("{}", 2, "the selector holds no matcher"),
        ("{job=\"\"}", 0, "the selector would match every series"),
        ("{job=~\".*\"}", 0, "the selector would match every series"),
        ("up{job}", 6, "expected =, !=, =~ or !~"),
        ("up{job=api}", 7, "expected a quoted value"),
        ("up{job==\"api\"}", 7, "`==` is not a matcher"),
        ("up{job=\"api}", 7, "the quotes are not closed"),
        ("up{job=\"api\"", 12, "the braces are not closed"),
        ("up{job=\"a\" code=\"b\"}", 11, "expected a comma"),
        (
            "up{code=~\"5(\"}",
            9,
            "the regex does not parse: unclosed group",
        ),
        (
            "up{code=~\"a)|(b\"}",
            9,
            "the regex does not parse: unopened group",
        ),
        ("up{code=~\"\\\\w{900}\"}", 9, "the regex is too large"),
        ("up{code=~\"\\d\"}", 10, "unknown escape"),
        ("up{code=\"\\xe9\"}", 9, "unknown escape"),
        ("rate(up[1m])", 4, "expected the end of the selector"),
        ("http.requests", 4, "this name needs quotes"),
        ("up[5m]", 2, "a range has no meaning here"),
        ("up{__name__=\"down\"}", 3, "the metric name is given twice"),
        ("404s", 0, "a name starts with a letter or _"),
        (
            "up{a=\"{{canary}}\"}",
            6,
            "variables stand only in the values of arm matchers",
        ),
    ];
    for (text, offset, message) in cases {
        let error = Selector::parse(text).expect_err(text);
        assert_eq!(
            (error.offset, error.message.as_str()),
            (offset, message),
            "{text}"
        );
    }
}

#[test]
fn limits_hold_at_the_limit_and_one_past_it() {
    let of_length = |bytes: usize| format!("{{a=\"{}\"}}", "x".repeat(bytes - 6));
    assert!(Selector::parse(&of_length(SELECTOR_BYTES_MAX)).is_ok());
    assert!(Selector::parse(&of_length(SELECTOR_BYTES_MAX + 1)).is_err());
    let of_count = |count: usize| vec!["a=\"x\""; count].join(",");
    assert!(Selector::parse(&of_count(MATCHERS_MAX)).is_ok());
    assert!(Selector::parse(&of_count(MATCHERS_MAX + 1)).is_err());
}

#[test]
fn canonical_form_ignores_order_quotes_and_blanks() {
    let one = Selector::parse("up{ b='2', a=\"1\", }").unwrap();
    let other = Selector::parse("{a=`1`,b=\"2\",b=\"2\",__name__=\"up\"}").unwrap();
    assert_eq!(one, other);
    assert_eq!(one.canonical(), "{__name__=\"up\",a=\"1\",b=\"2\"}");
    assert_ne!(one, Selector::parse("up{a=\"1\",b=~\"2\"}").unwrap());
    assert_eq!(Selector::named("up"), Selector::parse("up").unwrap());
}

#[test]
fn templates_name_their_variables_and_ask_for_them() {
    let template = SelectorTemplate::parse("hash=\"{{canary}}\", zone=~\"{{ zone }}-.*\"").unwrap();
    assert_eq!(
        template.variables().into_iter().collect::<Vec<_>>(),
        ["canary", "zone"]
    );
    let mut values = BTreeMap::from([("canary".to_owned(), "7f".to_owned())]);
    let missing = template.fill(&values).unwrap_err();
    assert_eq!(
        missing,
        MissingVariable::Absent {
            name: "zone".to_owned()
        }
    );
    values.insert("zone".to_owned(), String::new());
    assert_eq!(
        template.fill(&values).unwrap_err(),
        MissingVariable::Empty {
            name: "zone".to_owned()
        }
    );
    values.insert("zone".to_owned(), "eu".to_owned());
    let filled = template.fill(&values).unwrap();
    assert!(filled.matches("any", &labels(&[("hash", "7f"), ("zone", "eu-1")])));
    assert!(!filled.matches("any", &labels(&[("hash", "7f"), ("zone", "eu")])));
    values.insert("zone".to_owned(), "z".repeat(VARIABLE_BYTES_MAX + 1));
    assert_eq!(
        template.fill(&values).unwrap_err(),
        MissingVariable::TooLong {
            name: "zone".to_owned()
        }
    );
}

#[test]
fn variables_stand_only_where_they_are_literal() {
    for text in [
        "{{label}}=\"x\"",
        "a=\"{{no name}}\"",
        "a=\"{{open\"",
        "a=\"{{}}\"",
    ] {
        assert!(SelectorTemplate::parse(text).is_err(), "{text}");
    }
    for text in ["a=~\"[{{x}}]\"", "a=~`\\{{x}}`", "a=~\"(?P<{{x}}>y)\""] {
        assert!(SelectorTemplate::parse(text).is_err(), "{text}");
    }
    assert!(SelectorTemplate::parse("a=~\"[a-z]+{{x}}\"").is_ok());
}

proptest! {
    /// Whatever a value holds, the filled matcher selects that value and nothing else.
    #[test]
    fn a_value_cannot_inject_a_matcher(value in "\\PC{1,40}", other in "\\PC{0,40}") {
        let values = BTreeMap::from([("v".to_owned(), value.clone())]);
        for text in ["a=\"{{v}}\", b=\"1\"", "a=~\"{{v}}\", b=\"1\"", "a=~\"(?:{{v}})?x?\",a!=\"\",b=\"1\""] {
            let filled = SelectorTemplate::parse(text).unwrap().fill(&values).unwrap();
            let with_a = |a: &str| labels(&[("a", a), ("b", "1")]);
            prop_assert!(filled.matches("m", &with_a(&value)));
            prop_assert!(!filled.matches("m", &labels(&[("a", &value)])));
            if other != value && !text.contains('?') {
                prop_assert!(!filled.matches("m", &with_a(&other)));
            }
            // The canonical form of a filled selector parses back to the same one.
            prop_assert_eq!(&Selector::parse(filled.canonical()).unwrap(), &filled);
        }
    }

    #[test]
    fn values_that_look_like_matchers_stay_values(index in 0..7_usize) {
        let value = ["\", b=\"2", ".*", "x|.*", "{{v}}", "\\", "x\"}", "x) | (.*"][index];
        let values = BTreeMap::from([("v".to_owned(), value.to_owned())]);
        let filled = SelectorTemplate::parse("a=~\"{{v}}\"").unwrap().fill(&values).unwrap();
        prop_assert!(filled.matches("m", &labels(&[("a", value)])));
        prop_assert!(!filled.matches("m", &labels(&[("a", "anything"), ("b", "2")])));
    }

    #[test]
    fn any_text_parses_or_is_refused(text in "[ a-c{}\"'`,=~!\\\\.(\\[)x0-9]{0,40}") {
        let _ = Selector::parse(&text);
        if let Ok(template) = SelectorTemplate::parse(&text) {
            let again = SelectorTemplate::parse(template.canonical()).unwrap();
            prop_assert_eq!(again.canonical(), template.canonical());
        }
    }
}
