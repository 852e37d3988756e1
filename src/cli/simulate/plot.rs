//! The picture of a plan's power: one SVG file that any browser opens.
//!
//! Owns the drawing: two panels over one axis of effects, the verdicts above and the time to them
//! below, curves labelled where they end. It must not know how the numbers came about.

use std::fmt::Write;

use super::power::{Measured, Power};
use crate::judge::sentence::span;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 64.0;
/// Room for the labels of curves.
const RIGHT: f64 = 118.0;
const PANEL: f64 = 210.0;
const TOP: [f64; 2] = [80.0, 344.0];
const HEIGHT: f64 = 612.0;
/// Least distance between two labels of curves.
const LABEL_GAP: f64 = 15.0;

const RED: &str = "#b3261e";
const GREEN: &str = "#1b7f4b";
const GREY: &str = "#6b6b6b";
const BLUE: &str = "#1f5fa8";

/// The SVG text.
pub fn svg(power: &Power) -> String {
    let mut text = String::new();
    let plan = escaped(&power.plan);
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\" \
         role=\"img\">\n<title>Power of plan {plan}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    let heading = format!("Plan {plan}: final verdicts by size of the degradation");
    let detail = format!(
        "{} repetitions each, alpha {}, beta {}, horizon {}",
        power.replicates,
        power.alpha,
        power.beta,
        span(power.horizon_secs)
    );
    label(
        &mut text,
        LEFT,
        22.0,
        "#111",
        "start",
        &heading,
        "font-size=\"15\" font-weight=\"600\"",
    );
    label(&mut text, LEFT, 41.0, GREY, "start", &detail, "");
    let axis = Axis::new(power);
    axis.draw(&mut text, 0, "share of repetitions", 1.0, |x| {
        format!("{x:.1}")
    });
    let top = power
        .effects
        .iter()
        .map(|one| one.secs.p90)
        .fold(1e-9, f64::max);
    axis.draw(&mut text, 1, "time to the verdict", top, |secs| {
        span(secs.round())
    });
    let mut verdicts = [
        axis.curve(0, 1.0, "fail", RED, |one| one.fail.share),
        axis.curve(0, 1.0, "pass", GREEN, |one| one.pass.share),
        axis.curve(0, 1.0, "inconclusive", GREY, |one| one.inconclusive.share),
    ];
    let mut times = [
        axis.curve(1, top, "90 % are faster", GREY, |one| one.secs.p90),
        axis.curve(1, top, "mean", BLUE, |one| one.secs.mean),
        axis.curve(1, top, "median", "#111", |one| one.secs.median),
    ];
    write_curves(&mut text, &mut verdicts);
    write_curves(&mut text, &mut times);
    text.push_str("</svg>\n");
    text
}

struct Axis<'p> {
    effects: &'p [Measured],
    in_tolerances: bool,
    low: f64,
    high: f64,
}

struct Curve {
    name: &'static str,
    colour: &'static str,
    points: Vec<(f64, f64)>,
}

// === impl Axis ===

impl<'p> Axis<'p> {
    fn new(power: &'p Power) -> Axis<'p> {
        let positions = power.effects.iter().map(|one| one.position);
        let low = positions.clone().fold(f64::INFINITY, f64::min);
        let high = positions.fold(f64::NEG_INFINITY, f64::max);
        Axis {
            effects: &power.effects,
            in_tolerances: power.effects.iter().any(|one| one.effect.ends_with('x')),
            low,
            high: if high > low { high } else { low + 1.0 },
        }
    }

    fn x(&self, position: f64) -> f64 {
        LEFT + (position - self.low) / (self.high - self.low) * (WIDTH - LEFT - RIGHT)
    }

    fn draw(&self, text: &mut String, panel: usize, title: &str, top: f64, say: fn(f64) -> String) {
        let (upper, lower) = (TOP[panel], TOP[panel] + PANEL);
        let right = WIDTH - RIGHT;
        for part in 0_u8..=4 {
            let part = f64::from(part) / 4.0;
            let y = lower - part * PANEL;
            line(text, (LEFT, y), (right, y), "stroke=\"#e3e3e3\"");
            let said = if panel == 0 {
                format!("{part:.2}")
            } else {
                say(part * top)
            };
            label(text, LEFT - 8.0, y + 4.0, GREY, "end", &said, "");
        }
        label(
            text,
            LEFT - 56.0,
            upper - 10.0,
            "#111",
            "start",
            title,
            "font-weight=\"600\"",
        );
        if self.in_tolerances && self.low < 1.0 && self.high > 1.0 {
            let x = self.x(1.0);
            line(
                text,
                (x, upper),
                (x, lower),
                "stroke=\"#999\" stroke-dasharray=\"4 3\"",
            );
            label(text, x, upper - 4.0, GREY, "middle", "tolerance", "");
        }
        line(text, (LEFT, lower), (right, lower), "stroke=\"#333\"");
        let mut last = f64::NEG_INFINITY;
        for one in self.effects {
            let x = self.x(one.position);
            line(text, (x, lower), (x, lower + 4.0), "stroke=\"#333\"");
            if x - last >= 30.0 {
                label(
                    text,
                    x,
                    lower + 18.0,
                    "#333",
                    "middle",
                    &escaped(&one.effect),
                    "",
                );
                last = x;
            }
        }
        if panel == 1 {
            let unit = if self.in_tolerances {
                "degradation of the canary, in tolerances (1x is exactly tolerable)"
            } else {
                "degradation of the canary against the baseline"
            };
            let middle = (LEFT + right) / 2.0;
            label(text, middle, lower + 40.0, "#111", "middle", unit, "");
        }
    }

    fn curve(
        &self,
        panel: usize,
        top: f64,
        name: &'static str,
        colour: &'static str,
        value: fn(&Measured) -> f64,
    ) -> Curve {
        let y = |one: &Measured| TOP[panel] + PANEL - value(one) / top * PANEL;
        let points = self
            .effects
            .iter()
            .map(|one| (self.x(one.position), y(one)));
        Curve {
            name,
            colour,
            points: points.collect(),
        }
    }
}

// === functions ===

/// Draws curves and writes each one's name at its end, apart from the others'.
fn write_curves(text: &mut String, curves: &mut [Curve]) {
    let end = |curve: &Curve| curve.points.last().copied().unwrap_or((LEFT, 0.0));
    // From the bottom up, so that no name comes to lie under the axis.
    curves.sort_by(|one, other| end(other).1.total_cmp(&end(one).1));
    let mut last = f64::INFINITY;
    for curve in curves {
        let mut path = String::new();
        for &(x, y) in &curve.points {
            let _ = write!(path, "{x:.1},{y:.1} ");
            let colour = curve.colour;
            let _ = writeln!(
                text,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>"
            );
        }
        let (path, colour) = (path.trim_end(), curve.colour);
        let _ = writeln!(
            text,
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        let (x, y) = end(curve);
        let y = (y + 4.0).min(last - LABEL_GAP);
        last = y;
        label(text, x + 10.0, y, curve.colour, "start", curve.name, "");
    }
}

fn line(text: &mut String, from: (f64, f64), to: (f64, f64), style: &str) {
    let _ = writeln!(
        text,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" {style}/>",
        from.0, from.1, to.0, to.1
    );
}

fn label(text: &mut String, x: f64, y: f64, colour: &str, anchor: &str, said: &str, style: &str) {
    let _ = writeln!(
        text,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\" text-anchor=\"{anchor}\" {style}>{said}</text>"
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
