//! Intervals drawn as text: `|      [===o===]    T     |`.
//!
//! Owns the mapping from numbers to columns. It must not know what the numbers mean.

/// An axis of text columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    from: f64,
    to: f64,
    /// Whether equal steps are equal ratios.
    logarithmic: bool,
    columns: usize,
}

/// What is drawn on an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Marks {
    /// Best estimate, `o`.
    pub estimate: Option<f64>,
    /// Interval, `[====]`; an open end runs to the edge as `<` or `>`.
    pub interval: [Option<f64>; 2],
    /// Boundary between tolerable and degraded, `T`.
    pub tolerance: Option<f64>,
    /// Where there is no difference, `:`.
    pub neutral: f64,
}

/// Room beyond the outermost mark, as a share of the axis.
const MARGIN: f64 = 0.08;
/// Fewest columns on which the marks can be told apart.
const COLUMNS_MIN: usize = 16;

// === impl Axis ===

impl Axis {
    /// An axis of at least 16 `columns` that holds every finite mark. A logarithmic axis leaves out
    /// marks that are not positive: they have no place on it.
    pub fn around(all: &[Marks], logarithmic: bool, columns: usize) -> Axis {
        let place = |value: f64| if logarithmic { libm::log(value) } else { value };
        let shown = |value: &f64| value.is_finite() && (!logarithmic || *value > 0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in all.iter().flat_map(Marks::values).filter(shown) {
            low = low.min(place(value));
            high = high.max(place(value));
        }
        if low > high {
            (low, high) = (0.0, 0.0);
        }
        // A single point still needs an axis with a width.
        let width = if high > low { high - low } else { 1.0 };
        Axis {
            from: low - MARGIN * width,
            to: high + MARGIN * width,
            logarithmic,
            columns: columns.max(COLUMNS_MIN),
        }
    }

    /// The line of text of one set of marks, `columns` wide between two `|`.
    pub fn draw(&self, marks: &Marks) -> String {
        let last = self.columns - 1;
        let mut line = vec![' '; self.columns];
        if let Some(column) = self.column(marks.neutral) {
            line[column] = ':';
        }
        let [low, high] = marks.interval;
        if low.is_some() || high.is_some() {
            let begin = low.map_or(0, |value| self.column_clamped(value));
            let end = high.map_or(last, |value| self.column_clamped(value));
            for cell in &mut line[begin..=end.max(begin)] {
                *cell = '=';
            }
            line[begin] = if low.is_some() { '[' } else { '<' };
            line[end.max(begin)] = if high.is_some() { ']' } else { '>' };
        }
        if let Some(column) = marks.estimate.and_then(|value| self.column(value)) {
            line[column] = 'o';
        }
        // Drawn last: on which side of it the interval lies is what the picture is for.
        if let Some(column) = marks.tolerance.and_then(|value| self.column(value)) {
            line[column] = 'T';
        }
        format!("|{}|", line.into_iter().collect::<String>())
    }

    /// The column of a value on the axis.
    fn column(&self, value: f64) -> Option<usize> {
        let place = self.place(value)?;
        ((self.from..=self.to).contains(&place)).then(|| self.column_of_place(place))
    }

    /// The column of a value, or the edge it lies beyond.
    fn column_clamped(&self, value: f64) -> usize {
        match self.place(value) {
            Some(place) => self.column_of_place(place.clamp(self.from, self.to)),
            None if value > 0.0 => self.columns - 1,
            None => 0,
        }
    }

    fn place(&self, value: f64) -> Option<f64> {
        match self.logarithmic {
            _ if !value.is_finite() => None,
            true => (value > 0.0).then(|| libm::log(value)),
            false => Some(value),
        }
    }

    fn column_of_place(&self, place: f64) -> usize {
        let share = (place - self.from) / (self.to - self.from);
        (share * (self.columns - 1) as f64).round() as usize
    }
}

// === impl Marks ===

impl Marks {
    fn values(&self) -> impl Iterator<Item = f64> {
        let [low, high] = self.interval;
        [self.estimate, low, high, self.tolerance, Some(self.neutral)]
            .into_iter()
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: Marks = Marks {
        estimate: Some(3.0),
        interval: [Some(2.0), Some(4.0)],
        tolerance: Some(1.25),
        neutral: 1.0,
    };

    #[test]
    fn marks_stand_in_their_order_on_the_axis() {
        let line = Axis::around(&[CLEAR], true, 40).draw(&CLEAR);
        assert_eq!(line.chars().count(), 42);
        let order: String = line.chars().filter(|c| !"= ".contains(*c)).collect();
        assert_eq!(order, "|:T[o]|");
        // Equal ratios are equal steps: 2 to 4 is as long as 1 to 2.
        let at = |c: char| line.find(c).expect("drawn") as i64;
        let (first, second) = (at('[') - at(':'), at(']') - at('['));
        assert!((first - second).abs() <= 1, "{line}");
    }

    #[test]
    fn an_open_end_runs_to_the_edge() {
        let marks = Marks {
            interval: [None, Some(1.1)],
            estimate: None,
            ..CLEAR
        };
        let line = Axis::around(&[CLEAR, marks], true, 40).draw(&marks);
        assert!(line.starts_with("|<="), "{line}");
        assert!(line.find(']').expect("closed") < line.find('T').expect("tolerance"));
        let open = Marks {
            interval: [Some(2.0), None],
            ..marks
        };
        assert!(Axis::around(&[CLEAR], true, 40).draw(&open).ends_with(">|"));
    }

    #[test]
    fn odd_numbers_draw_something_and_never_panic() {
        let odd = [
            0.0,
            -1.0,
            1e-300,
            1e300,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            1.0,
        ];
        for low in odd {
            for high in odd {
                for logarithmic in [true, false] {
                    let marks = Marks {
                        estimate: Some(low),
                        interval: [Some(low), Some(high)],
                        tolerance: Some(high),
                        neutral: 1.0,
                    };
                    let line = Axis::around(&[marks], logarithmic, 3).draw(&marks);
                    assert_eq!(line.chars().count(), COLUMNS_MIN + 2, "{low} {high}");
                }
            }
        }
    }
}
