//! Cost of one look's thresholds: simulated null paths against drawing their normals alone.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use davy::stats::law::{Lattice, Law};
use davy::stats::null_paths::{NullPaths, PATHS};
use davy::stats::sampler::{Stream, seed_from};

fn look(c: &mut Criterion) {
    let seed = seed_from("bench", "null paths");
    let mut draws = vec![0.0_f32; 20_000];
    let mut stream = Stream::new(&seed, 0);
    c.bench_function("20,000 normals, the floor of a Gaussian look", |b| {
        b.iter(|| stream.fill_normals(&mut draws));
    });
    for looks in [60, 300] {
        let mut begun = NullPaths::new(seed, looks, PATHS);
        for look in 1..looks {
            begun.look(&Law::gaussian(50.0), 0.05 * look as f64 / looks as f64);
        }
        c.bench_function(&format!("Gaussian look {looks} of {looks}"), |b| {
            b.iter_batched_ref(
                || begun.clone(),
                |paths| paths.look(&Law::gaussian(50.0), 0.05),
                BatchSize::LargeInput,
            );
        });
        c.bench_function(&format!("binomial look {looks} of {looks}"), |b| {
            b.iter_batched_ref(
                || begun.clone(),
                |paths| paths.look(&Law::Lattice(Lattice::binomial(4, 0.4)), 0.05),
                BatchSize::LargeInput,
            );
        });
    }
}

criterion_group!(benches, look);
criterion_main!(benches);
