//! Standard normals behind simulated paths, drawn once and used by every test of one seed.
//!
//! Owns which normal belongs to which path at which look. Tests on one plan share their seed and
//! differ only in the variances they scale the draws by, so a fleet of analyses draws them once.
//! It must not know what is simulated. Next: `null_paths`.

use crate::stats::sampler::Stream;

/// Paths that share a stream.
const CHUNK: usize = 1_024;

/// The draws of one seed, look by look, made when they are first asked for.
#[derive(Debug, Clone)]
pub struct Noise {
    seed: [u8; 32],
    paths: usize,
    looks: Vec<Option<Box<[f32]>>>,
}

// === impl Noise ===

impl Noise {
    /// Draws for so many paths over `looks_planned` looks.
    pub fn new(seed: [u8; 32], looks_planned: usize, paths: usize) -> Noise {
        Noise {
            seed,
            paths,
            looks: vec![None; looks_planned],
        }
    }

    /// Whether these are the draws of this seed, for so many paths.
    pub fn is_of(&self, seed: &[u8; 32], paths: usize) -> bool {
        self.seed == *seed && self.paths == paths
    }

    /// Memory of all draws once every look has asked for them.
    pub fn bytes(&self) -> usize {
        self.looks.len() * self.paths * std::mem::size_of::<f32>()
    }

    /// One standard normal a path for the look with this number, from 0.
    pub fn normals(&mut self, look: usize) -> &[f32] {
        if look >= self.looks.len() {
            self.looks.resize(look + 1, None);
        }
        let (seed, paths) = (&self.seed, self.paths);
        self.looks[look].get_or_insert_with(|| {
            let mut draws = vec![0.0; paths];
            for (index, chunk) in draws.chunks_mut(CHUNK).enumerate() {
                stream(seed, look, index).fill_normals(chunk);
            }
            draws.into_boxed_slice()
        })
    }

    /// Calls `take` with every path's number and 32 random bits for this look, from 0.
    pub fn bits(&self, look: usize, mut take: impl FnMut(usize, u32)) {
        for first in (0..self.paths).step_by(CHUNK) {
            let mut source = stream(&self.seed, look, first / CHUNK);
            for path in first..(first + CHUNK).min(self.paths) {
                take(path, source.next_u32());
            }
        }
    }
}

/// Every chunk of every look has a stream of its own, so any of them can be drawn alone.
fn stream(seed: &[u8; 32], look: usize, chunk: usize) -> Stream {
    Stream::new(seed, ((look as u64) << 32) | chunk as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::sampler::seed_from;

    #[test]
    fn a_look_has_the_same_draws_whenever_it_asks() {
        let seed = seed_from("test", "noise");
        let mut forwards = Noise::new(seed, 3, 2_500);
        let mut backwards = Noise::new(seed, 3, 2_500);
        let in_order: Vec<Vec<f32>> = (0..3).map(|look| forwards.normals(look).to_vec()).collect();
        for look in (0..3).rev() {
            assert_eq!(backwards.normals(look), in_order[look]);
        }
        assert_ne!(in_order[0], in_order[1]);
        assert_ne!(in_order[0][..100], in_order[0][CHUNK..CHUNK + 100]);
    }

    #[test]
    fn paths_of_one_look_do_not_depend_on_how_many_there_are() {
        let seed = seed_from("test", "noise");
        let mut few = Noise::new(seed, 1, 1_500);
        let mut many = Noise::new(seed, 1, 3_000);
        assert_eq!(few.normals(0), &many.normals(0)[..1_500]);
    }
}
