//! Chance, pinned: a ChaCha8 stream and our own normal sampler over it.
//!
//! Owns every random number that a verdict depends on. A stream is named by a seed and an index,
//! so work can be split into chunks without the split showing in the numbers.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

const LAYERS: usize = 256;
/// Where the tail of a 256-layer ziggurat begins, and the area of a layer (Marsaglia and Tsang
/// 2000, in the form of Doornik 2005).
const TAIL: f64 = 3.654_152_885_361_009;
const LAYER_AREA: f64 = 0.004_928_673_233_974_65;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Stream {
    source: ChaCha8Rng,
    layers: std::sync::Arc<Layers>,
}

#[derive(Debug)]
struct Layers {
    /// Right edge of each layer, from the bottom; one more than there are layers.
    edge: [f64; LAYERS + 1],
    /// Share of each layer that lies under the curve for certain.
    inside: [f64; LAYERS],
}

/// A seed from a text (a plan's hash) and a label (a check and its side).
pub fn seed_from(text: &str, label: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(text.as_bytes());
    hasher.update([0]);
    hasher.update(label.as_bytes());
    hasher.finalize().into()
}

// === impl Stream ===

impl Stream {
    /// The stream of this seed and index.
    pub fn new(seed: &[u8; 32], index: u64) -> Stream {
        let mut source = ChaCha8Rng::from_seed(*seed);
        source.set_stream(index);
        Stream {
            source,
            layers: Layers::shared(),
        }
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        self.source.next_u32()
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.source.next_u64()
    }

    /// Uniform in (0, 1), in steps of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        ((self.next_u64() >> 11) as f64 + 0.5) * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Standard normal, by the ziggurat.
    pub fn normal(&mut self) -> f64 {
        loop {
            let bits = self.next_u64();
            let layer = (bits & 0xff) as usize;
            let u = ((bits >> 11) as f64) * (2.0 / 9_007_199_254_740_992.0) - 1.0;
            let x = u * self.layers.edge[layer];
            if u.abs() < self.layers.inside[layer] {
                return x;
            }
            if layer == 0 {
                return self.beyond_tail(u < 0.0);
            }
            let (outer, inner) = (self.layers.edge[layer], self.layers.edge[layer + 1]);
            let high = libm::exp(-0.5 * (outer * outer - x * x));
            let low = libm::exp(-0.5 * (inner * inner - x * x));
            if high + self.uniform() * (low - high) < 1.0 {
                return x;
            }
        }
    }

    /// Fills a slice with standard normals in single precision.
    pub fn fill_normals(&mut self, out: &mut [f32]) {
        for slot in out {
            *slot = self.normal() as f32;
        }
    }

    fn beyond_tail(&mut self, negative: bool) -> f64 {
        loop {
            let x = libm::log(self.uniform()) / TAIL;
            let y = libm::log(self.uniform());
            if -2.0 * y >= x * x {
                return if negative { x - TAIL } else { TAIL - x };
            }
        }
    }
}

// === impl Layers ===

impl Layers {
    fn shared() -> std::sync::Arc<Layers> {
        static LAYERS_ONCE: std::sync::OnceLock<std::sync::Arc<Layers>> =
            std::sync::OnceLock::new();
        LAYERS_ONCE
            .get_or_init(|| std::sync::Arc::new(Layers::build()))
            .clone()
    }

    fn build() -> Layers {
        let mut edge = [0.0; LAYERS + 1];
        let mut height = libm::exp(-0.5 * TAIL * TAIL);
        edge[0] = LAYER_AREA / height;
        edge[1] = TAIL;
        for layer in 2..LAYERS {
            edge[layer] = (-2.0 * libm::log(LAYER_AREA / edge[layer - 1] + height)).sqrt();
            height = libm::exp(-0.5 * edge[layer] * edge[layer]);
        }
        let mut inside = [0.0; LAYERS];
        for layer in 0..LAYERS {
            inside[layer] = edge[layer + 1] / edge[layer];
        }
        Layers { edge, inside }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::special::normal_cdf;

    #[test]
    fn normals_follow_the_normal_law() {
        let mut stream = Stream::new(&seed_from("test", "normals"), 0);
        let count = 1_000_000;
        let mut draws: Vec<f64> = (0..count).map(|_| stream.normal()).collect();
        let n = count as f64;
        let mean = draws.iter().sum::<f64>() / n;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / n;
        let fourth = draws.iter().map(|x| x * x * x * x).sum::<f64>() / n;
        assert!(mean.abs() < 4.0 / n.sqrt());
        assert!((variance - 1.0).abs() < 4.0 * (2.0 / n).sqrt());
        assert!((fourth - 3.0).abs() < 4.0 * (96.0 / n).sqrt());
        draws.sort_by(f64::total_cmp);
        let distance = draws
            .iter()
            .enumerate()
            .map(|(i, &x)| (normal_cdf(x) - (i as f64 + 0.5) / n).abs())
            .fold(0.0, f64::max);
        // Kolmogorov's 0.1 % point.
        assert!(distance < 1.95 / n.sqrt(), "{distance}");
        let beyond = draws.iter().filter(|x| x.abs() > TAIL).count() as f64;
        let expected = 2.0 * normal_cdf(-TAIL) * n;
        assert!(
            (beyond - expected).abs() < 4.0 * expected.sqrt(),
            "{beyond} of {expected}"
        );
    }

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let seed = seed_from("test", "streams");
        let draw = |index| {
            (0..4)
                .map({
                    let mut stream = Stream::new(&seed, index);
                    move |_| stream.next_u64()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(0), draw(0));
        assert_ne!(draw(0), draw(1));
    }
}
