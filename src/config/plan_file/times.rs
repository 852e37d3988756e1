//! The durations of a plan: horizon, tick, lateness, bake time.
//!
//! Owns their defaults and how they bound each other. Next: `after`, what lies past the horizon.

use super::TICK_MILLIS_MIN;
use crate::config::problem::ProblemCode;
use crate::config::quantity::duration_text;
use crate::config::reader::{Field, Reader, Table};
use crate::model::Millis;
use crate::plan::LOOKS_MAX;
use crate::window::{OPEN_TICKS_MAX, lateness_max, open_ticks};

const TICK_DEFAULT: Millis = 15_000;
const LATENESS_DEFAULT_MAX: Millis = 120_000;
const MIN_DURATION_DEFAULT: Millis = 300_000;

/// The plan's durations, in milliseconds.
pub struct Times {
    pub horizon: Millis,
    pub tick: Millis,
    pub lateness: Millis,
    pub min_duration: Millis,
}

impl Times {
    pub fn read(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Times> {
        let read = |reader: &mut Reader<'_>, key: &str, least: Millis| match table.get(key) {
            None => Ok(None),
            Some(field) => reader.duration(&field, least).map(Some).ok_or(()),
        };
        let tick = read(reader, "tick", TICK_MILLIS_MIN);
        let lateness = read(reader, "lateness", 0);
        let min_duration = read(reader, "min_duration", 0);
        let help = "say how long the analysis may last at most: horizon: 1h";
        let horizon_field = reader.required(table, "horizon", help)?;
        let horizon = reader.duration(&horizon_field, TICK_MILLIS_MIN)?;
        let tick = tick.ok()?.unwrap_or(TICK_DEFAULT);
        check_looks(reader, &horizon_field, horizon, tick)?;
        // Two ticks: one for the pipeline, one for the scrape that just missed.
        let lateness_default = (2 * tick).min(LATENESS_DEFAULT_MAX).min(horizon);
        let min_duration_default = MIN_DURATION_DEFAULT.min(horizon / 4);
        let times = Times {
            horizon,
            tick,
            lateness: lateness.ok()?.unwrap_or(lateness_default),
            min_duration: min_duration.ok()?.unwrap_or(min_duration_default),
        };
        for (key, value) in [
            ("lateness", times.lateness),
            ("min_duration", times.min_duration),
        ] {
            if let Some(field) = table.get(key).filter(|_| value > horizon) {
                let message = format!("`{key}` is longer than the horizon");
                let help = format!("at most {}", duration_text(horizon));
                reader.refuse(&field, ProblemCode::Conflict, message, help);
            }
        }
        if times.lateness <= horizon {
            check_open_ticks(reader, table, &times);
        }
        Some(times)
    }
}

/// The lateness must not hold more than [`OPEN_TICKS_MAX`] ticks open at once.
fn check_open_ticks(reader: &mut Reader<'_>, table: &Table<'_>, times: &Times) {
    let (tick, lateness) = (times.tick, times.lateness);
    let open = open_ticks(tick, lateness);
    // The default fits every tick, so what does not fit was written.
    let Some(field) = table.get("lateness").filter(|_| open > OPEN_TICKS_MAX) else {
        return;
    };
    let message = format!(
        "a lateness of {} at a tick of {} holds {open} ticks open at once (the lateness in ticks, \
         and those being filled, waited for and ahead); at most {OPEN_TICKS_MAX} are possible",
        duration_text(lateness),
        duration_text(tick),
    );
    let longer = nice_tick(times.horizon, |tick| {
        open_ticks(tick, lateness) <= OPEN_TICKS_MAX
    });
    let longer = longer.map_or_else(String::new, |tick| {
        format!("write tick: {}, or ", duration_text(tick))
    });
    let help = format!(
        "{longer}a lateness of {} at most",
        duration_text(lateness_max(tick))
    );
    reader.refuse(&field, ProblemCode::Conflict, message, help);
}

/// The horizon must be a whole number of ticks, at most [`LOOKS_MAX`].
fn check_looks(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    horizon: Millis,
    tick: Millis,
) -> Option<()> {
    let (horizon_text, tick_text) = (duration_text(horizon), duration_text(tick));
    if horizon > LOOKS_MAX * tick {
        let fits = nice_tick(horizon, |_| true).map_or_else(String::new, |nice| {
            format!(
                "write tick: {}, or shorten the horizon",
                duration_text(nice)
            )
        });
        let message = format!(
            "{horizon_text} at a tick of {tick_text} makes {} looks; at most {LOOKS_MAX} are possible",
            horizon / tick
        );
        reader.refuse(field, ProblemCode::Conflict, message, fits);
        return None;
    }
    if horizon % tick != 0 {
        let below = horizon / tick * tick;
        let near = if below == 0 {
            duration_text(tick)
        } else {
            format!(
                "{} or {}",
                duration_text(below),
                duration_text(below + tick)
            )
        };
        let message = format!("the horizon is not a whole number of ticks of {tick_text}");
        reader.refuse(
            field,
            ProblemCode::Conflict,
            message,
            format!("write {near}"),
        );
        return None;
    }
    Some(())
}

/// The shortest round tick under which this horizon is allowed, and that fits.
fn nice_tick(horizon: Millis, fits: impl Fn(Millis) -> bool) -> Option<Millis> {
    let secs = [
        1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400,
    ];
    let mut ticks = secs.into_iter().map(|secs| secs * 1_000);
    ticks.find(|&tick| horizon % tick == 0 && horizon <= LOOKS_MAX * tick && fits(tick))
}
