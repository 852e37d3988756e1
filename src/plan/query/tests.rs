//! What a query's variables may be, and that no value gets out of its string.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::plan::SelectorTemplate;

fn arm() -> Selector {
    let values = BTreeMap::from([("canary".to_owned(), "v\"2\\".to_owned())]);
    let template = SelectorTemplate::parse(r#"job="shop", version="{{canary}}""#);
    template.expect("parses").fill(&values).expect("filled")
}

fn filled(text: &str, values: &[(&str, &str)]) -> Result<String, MissingVariable> {
    let pairs = values
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    let template = QueryTemplate::parse(text).unwrap_or_else(|error| panic!("{error}"));
    template.fill(&arm(), &pairs.collect())
}

fn refused(text: &str) -> (usize, String) {
    let error = QueryTemplate::parse(text).expect_err("it is refused");
    assert!(error.help.is_some(), "{error}");
    (error.offset, error.message)
}

#[test]
fn the_arms_matchers_and_values_are_put_in_place() {
    let matchers = r#"job="shop",version="v\"2\\""#;
    for text in ["m{ {{arm}} }", "m{{{arm}}}", "m{{{ arm }}}"] {
        let query = filled(text, &[]).expect("filled");
        assert_eq!(query.replace(' ', ""), format!("m{{{matchers}}}"), "{text}");
    }
    let text = r#"m{ {{arm}}, ns="{{ns}}", pod=~'{{ns}}-.*'} # not a {{variable
"#;
    assert_eq!(
        filled(text, &[("ns", "a.\"b'\n")]).expect("filled"),
        format!(
            r#"m{{ {matchers}, ns="a.\x22b\x27\n", pod=~'a\\.\x22b\x27\n-.*'}} # not a {{{{variable"#
        )
    );
    let template = QueryTemplate::parse(text).expect("parses");
    assert_eq!(template.variables(), BTreeSet::from(["ns"]));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    assert_eq!(refused("up").1, "the query would be the same for both arms");
    assert_eq!(
        refused(r#"m{v="{{canary}}"}"#).1,
        "the query would be the same for both arms"
    );
    let (at, message) = refused("m{ {{arm}} } > {{limit}}");
    assert_eq!(at, 15);
    assert!(message.contains("within quotes"), "{message}");
    assert!(
        refused("m{ {{arm}}, a=`{{x}}`}")
            .1
            .contains("within quotes")
    );
    assert!(refused("m{a=\"{{arm}}\"}").1.contains("matchers"));
    assert!(refused("m{ {{arm").1.contains("not closed"));
    assert!(refused("m{ {{a b}} }").1.contains("cannot name"));
    assert!(
        refused("m{ {{arm}}, a=\"b}")
            .1
            .contains("ends within quotes")
    );
    let long = format!("m{{ {{{{arm}}}} }}{}", " ".repeat(QUERY_BYTES_MAX));
    assert!(refused(&long).1.contains("longer"));
}

#[test]
fn a_value_that_is_missing_empty_or_too_long_is_refused() {
    let text = r#"m{ {{arm}}, ns="{{ns}}"}"#;
    let name = || "ns".to_owned();
    let long = "x".repeat(VARIABLE_BYTES_MAX + 1);
    assert_eq!(
        filled(text, &[]),
        Err(MissingVariable::Absent { name: name() })
    );
    assert_eq!(
        filled(text, &[("ns", "")]),
        Err(MissingVariable::Empty { name: name() })
    );
    assert_eq!(
        filled(text, &[("ns", &long)]),
        Err(MissingVariable::TooLong { name: name() })
    );
    assert!(filled(text, &[("ns", &long[1..])]).is_ok());
}

/// A string's content as PromQL reads it.
fn unquoted(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next()? {
                '\\' => out.push('\\'),
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                'x' => {
                    let digits: String = chars.by_ref().take(2).collect();
                    out.push(char::from(u8::from_str_radix(&digits, 16).ok()?));
                }
                _ => return None,
            },
            '"' | '\'' | '\n' => return None,
            other => out.push(other),
        }
    }
    Some(out)
}

proptest! {
    #[test]
    fn a_value_stays_the_content_of_its_string(value in ".{1,40}") {
        let query = filled(r#"m{ {{arm}}, a="{{x}}"}"#, &[("x", &value)]).expect("filled");
        let (_, content) = query.split_once(r#", a=""#).expect("there");
        let content = content.strip_suffix("\"}").expect("there");
        let read = unquoted(content);
        prop_assert_eq!(read.as_deref(), Some(value.as_str()));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a{}\"'`\\\\#~=\n ]{0,24}(\\{\\{arm\\}\\})?.{0,12}") {
        if let Ok(template) = QueryTemplate::parse(&text) {
            let again = serde_json::to_string(&template).expect("plain data");
            let read: QueryTemplate = serde_json::from_str(&again).expect("it was read before");
            prop_assert_eq!(read.as_str(), template.as_str());
        }
    }
}

#[test]
fn functions_are_told_from_names_strings_and_comments() {
    let names = ["rate", "sum"];
    for (text, applied) in [
        ("sum(m{ {{arm}} })", Some("sum")),
        ("sum by (le) (m{ {{arm}} })", Some("sum")),
        ("SUM without(pod)(m{ {{arm}} })", Some("sum")),
        ("m{ {{arm}} } + sum (n{ {{arm}} })", Some("sum")),
        ("rate(m{ {{arm}} }[1m])", Some("rate")),
        ("m{ {{arm}}, job=\"sum(x)\" } # sum(x)", None),
        ("sum{ {{arm}} }", None),
        ("job:sum{ {{arm}}, sum=\"x\" }", None),
        ("checksum(m{ {{arm}} }) + rate_sum(m) + ns:rate (m)", None),
        ("sum", None),
    ] {
        let text = format!(
            "{text}{}",
            if text == "sum" { " > m{ {{arm}} }" } else { "" }
        );
        let query = QueryTemplate::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(query.applies(&names), applied, "{text}");
    }
}
