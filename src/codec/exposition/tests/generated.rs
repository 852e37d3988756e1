//! Bodies made by an encoder and a seeded generator: what goes in comes out, and no change of
//! bytes makes the decoder panic or keep more than the body can say.

use super::*;

/// A generator of numbers, the same at every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        // xorshift64*, Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A number that may be large, and infinity.
    fn value(&mut self) -> f64 {
        let value = f64::from_bits(self.next() << 4).abs();
        if value.is_finite() {
            value
        } else {
            f64::INFINITY
        }
    }

    fn text(&mut self, alphabet: &str, length: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        (0..length)
            .map(|_| alphabet[self.below(alphabet.len())])
            .collect()
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n"))
}

/// Writes a body, and what must be read from it.
fn body(numbers: &mut Numbers, dialect: Dialect, lines: usize) -> (String, Vec<String>) {
    let (mut body, mut expected) = (String::new(), Vec::new());
    let mut labels: Vec<(String, String)> = Vec::new();
    let mut millis = 0;
    for nth in 0..lines {
        let name = format!("m{}", nth / 3);
        if nth % 3 == 0 {
            body.push_str(&format!("# TYPE {name} gauge\n"));
        }
        if numbers.below(2) == 0 || labels.is_empty() {
            labels.clear();
            for _ in 0..numbers.below(6) {
                let plain = numbers.below(3) > 0;
                let alphabet = if plain { "abcXYZ_" } else { "a.\\\" \u{e9}" };
                let length = 1 + numbers.below(10);
                let label = numbers.text(alphabet, length);
                if labels.iter().all(|(other, _)| *other != label) {
                    let length = numbers.below(20);
                    labels.push((label, numbers.text("ab,}={\"\\\n\u{4e2d}#", length)));
                }
            }
        } else if let Some((_, value)) = labels.last_mut() {
            value.push('x');
        }
        let written: Vec<String> = labels
            .iter()
            .map(|(label, value)| {
                let is_plain = label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_');
                let label = if is_plain {
                    label.clone()
                } else {
                    escaped(label)
                };
                format!("{label}={}", escaped(value))
            })
            .collect();
        let value = numbers.value();
        // Half of the lines have the time of the one before.
        if nth == 0 || numbers.below(2) == 0 {
            millis = 1_700_000_000_000 + numbers.below(1 << 30) as i64;
        }
        let time = match dialect {
            Dialect::Prometheus => format!(" {millis}"),
            Dialect::OpenMetrics => format!(" {}.{:03}", millis / 1_000, millis % 1_000),
        };
        let is_timed = numbers.below(4) > 0;
        let (time, at) = match is_timed {
            true => (time, format!(" @{millis}")),
            false => Default::default(),
        };
        body.push_str(&format!("{name}{{{}}} {value}{time}\n", written.join(",")));
        let mut sorted: Vec<_> = labels
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        sorted.sort();
        let sorted: Vec<String> = sorted.iter().map(|(n, v)| format!("{n}={v}")).collect();
        expected.push(format!("{name}{{{}}} Gauge {value}{at}", sorted.join(",")));
    }
    if dialect == Dialect::OpenMetrics {
        body.push_str("# EOF\n");
    }
    (body, expected)
}

#[test]
fn what_an_encoder_writes_is_read_back() {
    let mut numbers = Numbers(11);
    for dialect in [Dialect::Prometheus, Dialect::OpenMetrics] {
        for _ in 0..300 {
            let (body, expected) = body(&mut numbers, dialect, 9);
            let decoded = read(&body, dialect);
            assert_eq!(shown(&decoded), expected, "{body}");
            assert_eq!(decoded.refusals, [], "{body}");
        }
    }
}

const SEEDS: [&str; 3] = [
    "# HELP h x\n# TYPE h histogram\nh_bucket{le=\"1\",a=\"x\\\\y\"} 5 1764000000000\n\
     h_bucket{le=\"+Inf\",a=\"x\\\\y\"} 7\nh_sum{a=\"x\\\\y\"} 1.5\nh_count{a=\"x\\\\y\"} 7\n",
    "# TYPE f counter\nf_total{a=\"1\"} 17 1520879607.789 # {t=\"x\"} 0.5\n\
     f_created{a=\"1\"} 1520000000.5\n{\"my.name\",\"l.l\"=\"\\n\u{e9}\"} NaN\n# EOF\n",
    "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum -0.25e2\ns_count 3\n\
     # TYPE \"g.g\" gauge\n{a=\"b\",\"g.g\"} -Inf\n",
];

#[test]
fn no_change_of_bytes_makes_it_panic_or_keep_more_than_the_body_says() {
    let limits = Limits {
        samples_per_request_max: 20,
        label_count_max: 3,
        label_bytes_max: 20,
        ..Limits::default()
    };
    let mut numbers = Numbers(12);
    let (mut read_count, mut refusal_count) = (0, 0);
    for nth in 0..30_000 {
        let mut body = SEEDS[nth % SEEDS.len()].as_bytes().to_vec();
        for _ in 0..=numbers.below(3) {
            let (at, byte) = (numbers.below(body.len()), numbers.next() as u8);
            let byte = if byte < 128 {
                byte
            } else {
                b"\"\\{}=,# \n\0"[numbers.below(10)]
            };
            match numbers.below(5) {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                2 => drop(body.remove(at)),
                3 if body.len() > 9 => body.truncate(at.max(8)),
                _ => {
                    let end = body.len().min(at + 24);
                    let part = body[at..end].to_vec();
                    let to = numbers.below(body.len());
                    body.splice(to..to, part);
                }
            }
        }
        let dialect = [Dialect::Prometheus, Dialect::OpenMetrics][numbers.below(2)];
        let Ok(decoded) = decoded(&body, dialect, &limits, &mut |_| true) else {
            continue;
        };
        read_count += 1;
        refusal_count += decoded.refusals.len();
        let lines = body.iter().filter(|byte| **byte == b'\n').count() + 2;
        assert!(decoded.batch.point_count() + decoded.refusals.len() <= lines);
        assert_eq!(decoded.origins.len(), decoded.batch.len());
        for series in decoded.batch.iter() {
            let labels = series.key.labels();
            let bytes: usize = labels.iter().map(|(n, v)| n.len() + v.len()).sum();
            assert!(labels.len() <= 3 && bytes <= 20 && !series.key.name().is_empty());
            assert!(series.key.as_bytes().len() <= body.len() + 16);
        }
    }
    assert!(
        read_count > 20_000 && refusal_count > 10_000,
        "{read_count} {refusal_count}"
    );
}
