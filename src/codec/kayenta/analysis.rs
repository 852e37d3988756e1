//! One metric's settings, as Kayenta looks them up.
//!
//! Owns the keys under `analysisConfigurations.canary`, and what happens to values of another type:
//! Kayenta reads a map without a form, at the moment of judging, so that `"critical": "true"` ends
//! the run where a misspelt word is passed over. Both are kept here: a configuration that works there
//! means the same here, and one that breaks there is told what breaks it.

use serde_json::{Number, Value};

use crate::judge::kayenta::{Direction, Measure, NanStrategy, Outliers, Settings};
use crate::plan::kayenta::OUTLIER_FACTOR;
use crate::plan::kayenta::Thresholds;

/// What a metric's settings come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Analysis {
    /// What the judge is told.
    pub settings: Settings,
    /// Judged and shown, but not counted.
    pub muted: bool,
}

/// A setting whose type Kayenta's judge cannot use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("analysisConfigurations.canary.{path} is {found}; write {wanted}")]
pub struct WrongType {
    /// Where, from `canary` on.
    pub path: String,
    /// What stands there.
    pub found: String,
    /// What should.
    pub wanted: &'static str,
}

/// What a path leads to.
enum Found<'v> {
    Nothing,
    One(&'v Value),
    /// Through an array, which gives all that its items lead to.
    Several,
}

// === impl Analysis ===

impl Analysis {
    /// Reads what stands under `canary`.
    ///
    /// # Errors
    /// [`WrongType`].
    pub fn read(configurations: &Value) -> Result<Analysis, WrongType> {
        let lookup = Lookup(configurations);
        let direction = match lookup.word(&["direction"], "increase, decrease or either")? {
            Some("increase") => Direction::Increase,
            Some("decrease") => Direction::Decrease,
            _ => Direction::Either,
        };
        let nan_strategy = match lookup.word(&["nanStrategy"], "remove or replace")? {
            Some("replace") => NanStrategy::Replace,
            _ => NanStrategy::Remove,
        };
        let removes = lookup.word(&["outliers", "strategy"], "remove or keep")? == Some("remove");
        let factor = lookup.number(&["outliers", "outlierFactor"], OUTLIER_FACTOR)?;
        if removes && factor <= 0.0 {
            return Err(WrongType {
                path: "outliers.outlierFactor".to_owned(),
                found: factor.to_string(),
                wanted: "a number above 0, such as 3.0",
            });
        }
        let outliers = removes.then_some(Outliers {
            factor,
            reduce_sensitivity: true,
        });
        let measure = match lookup.word(&["effectSize", "measure"], "meanRatio or cles")? {
            Some("cles") => Measure::Cles,
            _ => Measure::MeanRatio,
        };
        let effect = |key| lookup.number(&["effectSize", key], measure.neutral());
        Ok(Analysis {
            settings: Settings {
                direction,
                nan_strategy,
                outliers,
                critical: lookup.flag("critical")?,
                must_have_data: lookup.flag("mustHaveData")?,
                measure,
                allowed: Thresholds {
                    increase: effect("allowedIncrease")?,
                    decrease: effect("allowedDecrease")?,
                },
                critical_at: Thresholds {
                    increase: effect("criticalIncrease")?,
                    decrease: effect("criticalDecrease")?,
                },
                ..Settings::default()
            },
            muted: lookup.flag("muted")?,
        })
    }
}

/// The map that Kayenta looks settings up in.
struct Lookup<'v>(&'v Value);

// === impl Lookup ===

impl<'v> Lookup<'v> {
    fn find(&self, keys: &[&str]) -> Found<'v> {
        found(self.0, &[&["canary"], keys].concat())
    }

    /// A word; an unknown one is for the caller to pass over, and so is what is no word.
    fn word(&self, keys: &[&str], wanted: &'static str) -> Result<Option<&'v str>, WrongType> {
        match self.find(keys) {
            Found::One(Value::String(word)) => Ok(Some(word)),
            // Whatever else prints as something, and that is no word that is known.
            Found::Nothing | Found::Several => Ok(None),
            Found::One(Value::Null) => Err(wrong(keys, &Value::Null, wanted)),
            Found::One(_) => Ok(None),
        }
    }

    /// A number: 32 bits where it is whole; null is 0.
    fn number(&self, keys: &[&str], default: f64) -> Result<f64, WrongType> {
        let wanted = "a number with a decimal point, or a whole one of 32 bits";
        match self.find(keys) {
            Found::Nothing => Ok(default),
            Found::One(Value::Null) => Ok(0.0),
            Found::One(Value::Number(number)) => {
                usable(number).ok_or_else(|| wrong(keys, &Value::Number(number.clone()), wanted))
            }
            Found::One(other) => Err(wrong(keys, other, wanted)),
            Found::Several => Err(wrong(keys, &Value::Array(Vec::new()), wanted)),
        }
    }

    /// A flag; null is false.
    fn flag(&self, key: &str) -> Result<bool, WrongType> {
        let wanted = "true or false, without quotes";
        match self.find(&[key]) {
            Found::Nothing | Found::One(Value::Null) => Ok(false),
            Found::One(Value::Bool(flag)) => Ok(*flag),
            Found::One(other) => Err(wrong(&[key], other, wanted)),
            Found::Several => Err(wrong(&[key], &Value::Array(Vec::new()), wanted)),
        }
    }
}

/// Follows keys through objects; through an array, in each of its items.
fn found<'v>(value: &'v Value, keys: &[&str]) -> Found<'v> {
    let [first, rest @ ..] = keys else {
        return Found::One(value);
    };
    match value {
        Value::Object(map) => match map.get(*first) {
            Some(inner) => found(inner, rest),
            None => Found::Nothing,
        },
        Value::Array(items) => {
            let leads = |item| !matches!(found(item, keys), Found::Nothing);
            if items.iter().any(leads) {
                Found::Several
            } else {
                Found::Nothing
            }
        }
        _ => Found::Nothing,
    }
}

/// What Java would hold as an `Integer` or a `Double`. Larger whole numbers are a `Long` there,
/// which the judge does not take.
fn usable(number: &Number) -> Option<f64> {
    let fits = |whole: i64| i32::try_from(whole).is_ok();
    let is_whole = number.is_i64() || number.is_u64();
    let whole_fits = number.as_i64().is_some_and(fits);
    number.as_f64().filter(|_| !is_whole || whole_fits)
}

fn wrong(keys: &[&str], found: &Value, wanted: &'static str) -> WrongType {
    let found = match found {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the whole number {number}, of more than 32 bits"),
        Value::String(text) => format!("the text {:?}", text.chars().take(40).collect::<String>()),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    WrongType {
        path: keys.join("."),
        found,
        wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(canary: Value) -> Result<Analysis, WrongType> {
        Analysis::read(&json!({ "canary": canary }))
    }

    fn settings(canary: Value) -> Settings {
        read(canary).expect("readable").settings
    }

    #[test]
    fn nothing_said_is_the_default() {
        for nothing in [
            Value::Null,
            json!({}),
            json!({"canary": {}}),
            json!({"canary": null}),
        ] {
            let found = Analysis::read(&nothing).expect("readable");
            assert_eq!((found.settings, found.muted), (Settings::default(), false));
        }
    }

    #[test]
    fn everything_that_can_be_said() {
        let found = read(json!({
            "direction": "increase", "nanStrategy": "replace", "critical": true,
            "mustHaveData": true, "muted": true,
            "outliers": {"strategy": "remove", "outlierFactor": 2},
            "effectSize": {"measure": "cles", "allowedIncrease": 0.7, "criticalDecrease": 0.1},
        }))
        .expect("readable");
        assert!(found.muted);
        let Settings {
            outliers,
            allowed,
            critical_at,
            ..
        } = found.settings;
        assert_eq!(found.settings.direction, Direction::Increase);
        assert_eq!(found.settings.nan_strategy, NanStrategy::Replace);
        assert!(found.settings.critical && found.settings.must_have_data);
        assert_eq!(outliers.expect("removed").factor, 2.0);
        assert_eq!((allowed.increase, allowed.decrease), (0.7, 0.5));
        assert_eq!((critical_at.increase, critical_at.decrease), (0.5, 0.1));
    }

    #[test]
    fn unknown_words_are_passed_over() {
        let found = settings(json!({
            "direction": "up", "nanStrategy": 7, "outliers": {"strategy": true},
            "effectSize": {"measure": "CLES"}, "whatever": {},
        }));
        assert_eq!(found, Settings::default());
    }

    #[test]
    fn a_wrong_type_is_told() {
        let told = |canary| read(canary).expect_err("refused").to_string();
        let critical = told(json!({"critical": "true"}));
        assert_eq!(
            critical,
            "analysisConfigurations.canary.critical is the text \"true\"; write true or false, \
             without quotes"
        );
        let path = "effectSize.allowedIncrease is ";
        let effect = |value: Value| told(json!({"effectSize": {"allowedIncrease": value}}));
        assert!(effect(json!("1.2")).contains(&format!("{path}the text \"1.2\"")));
        assert!(effect(json!(3_000_000_000_i64)).contains(&format!("{path}the whole number")));
        assert!(effect(json!(true)).contains(&format!("{path}true")));
        assert!(told(json!({"direction": null})).contains("direction is null"));
        let factor = told(json!({"outliers": {"strategy": "remove", "outlierFactor": 0}}));
        assert!(
            factor.contains("outlierFactor is 0; write a number above 0"),
            "{factor}"
        );
        assert!(told(json!([{"muted": true}])).contains("muted is an array"));
    }

    #[test]
    fn null_is_zero_or_false_and_whole_numbers_have_32_bits() {
        let effect = |value: Value| settings(json!({"effectSize": {"allowedIncrease": value}}));
        assert_eq!(effect(Value::Null).allowed.increase, 0.0);
        assert_eq!(
            effect(json!(i32::MAX)).allowed.increase,
            f64::from(i32::MAX)
        );
        assert_eq!(
            effect(json!(i32::MIN)).allowed.increase,
            f64::from(i32::MIN)
        );
        assert_eq!(effect(json!(3e9)).allowed.increase, 3e9);
        assert!(!settings(json!({"critical": null})).critical);
        assert!(read(json!({"effectSize": {"allowedIncrease": i64::from(i32::MAX) + 1}})).is_err());
    }
}
