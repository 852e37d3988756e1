//! Cost of one look's thresholds: simulated null paths against drawing their normals alone.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use davy::stats::law::{Lattice, Law};
use davy::stats::noise::Noise;
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
        let count = NullPaths::count(looks, PATHS);
        let mut noise = Noise::new(seed, looks, count);
        let mut begun = NullPaths::new(looks, count);
        let laws: Vec<Law> = (1..looks)
            .map(|look| {
                let law = Law::gaussian(50.0);
                begun.look(&law, 0.05 * look as f64 / looks as f64, &mut noise);
                law
            })
            .collect();
        noise.normals(looks - 1);
        for (name, law) in [
            ("Gaussian", Law::gaussian(50.0)),
            ("binomial", Law::lattice(Lattice::binomial(4, 0.4))),
        ] {
            c.bench_function(&format!("{name} look {looks} of {looks}"), |b| {
                b.iter_batched_ref(
                    || begun.clone(),
                    |paths| paths.look(&law, 0.05, &mut noise),
                    BatchSize::LargeInput,
                );
            });
        }
        c.bench_function(&format!("all {looks} looks resumed after eviction"), |b| {
            b.iter(|| {
                let removed = begun.removed().clone();
                NullPaths::resumed(looks, count, laws.iter(), removed, &mut noise).looks()
            });
        });
        c.bench_function(&format!("all {looks} looks from the beginning"), |b| {
            b.iter(|| {
                let mut paths = NullPaths::new(looks, count);
                for (look, law) in laws.iter().enumerate() {
                    let alpha = 0.05 * (look + 1) as f64 / looks as f64;
                    paths.look(law, alpha, &mut noise);
                }
                paths.removed().clone()
            });
        });
    }
}

criterion_group!(benches, look);
criterion_main!(benches);
